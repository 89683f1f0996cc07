"""One run from spec to status: dataset, fit, checkpoint, evaluations, status last.

`execute` may be called in any process; the run's lock makes sure that it is done once. It never raises for what can go wrong with a run:
a run that fails is a row with its reason.
"""

from __future__ import annotations

import errno
import io
import math
import os
import platform
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from bench.components import registry
from bench.components.digests import Stage, difference, replaced, started_from
from bench.core.leases import Held, LeaseLostError
from bench.core.model import Model, build_model, capabilities
from bench.core.readout import Context, Result
from bench.core.rebuild import data_facts
from bench.core.run_folder import StoreError, UnreadableError, progress_words, unfinished
from bench.core.runlog import logged, warnings_noted
from bench.core.session import InterruptedRunError, Progress, Session
from bench.core.spec import Readout
from bench.core.store import Lookup, Store, stale_training
from bench.core.surroundings import (
    environment,
    keep_memory,
    limit_threads,
    memory_words,
    peak_memory,
    resolve_device,
    shortage_words,
)
from bench.core.task import Outcome, Task
from bench.data import DatasetError, load_dataset
from bench.data.decoded import Tell
from bench.files import write_bytes
from gebm.training import DivergedError

__all__ = ["execute", "prepare_extractor", "record_death"]


def execute(task: Task, progress: Progress, should_stop: Callable[[], bool]) -> Outcome:
    """Do what is missing of a run, and only that."""
    run = Run(task, progress, should_stop)
    try:
        with run.held() as mine, run.recorded():
            if mine and run.prepare():
                run.read_out(*run.trained())
    except LeaseLostError as lost:
        return Outcome("busy", str(lost))
    except StoreError as error:
        return Outcome("abort", str(error))
    except (RuntimeError, MemoryError) as error:  # no thread to hold it with
        if task.raises:
            raise
        return Outcome("failed", f"not begun: {error or 'out of memory'}")
    return run.outcome


class BaseFailedError(RuntimeError):
    """The run that another one starts from cannot be had."""


class BaseBusyError(RuntimeError):
    """Another process works on the run that this one starts from."""


class ChangedError(RuntimeError):
    """What the run was planned with is no longer what it would use."""


class DeviceMemoryError(RuntimeError):
    """Training wants more memory than the device has."""


class Run:
    """One run being done."""

    def __init__(self, task: Task, progress: Progress, should_stop: Callable[[], bool]) -> None:
        self.task, self._asked_to_stop = task, should_stop
        self.lease: Held | None = None
        self.doing = ""  # what is being read out
        self.code = task.training  # what a training recorded now rests on
        self.start: tuple[str, ...] = ()  # hash of the weights that it starts from
        self.store = Store(task.places.store)
        self.folder = self.store.folder(task.spec)
        self._tell = logged(progress, self.folder)
        self.device = resolve_device(task.places.device)
        self.deadline = math.inf if task.deadline is None else task.deadline
        self.outcome = Outcome("busy", "another process works on this run")
        limit_threads(task.spec.threads)
        keep_memory()
        torch.backends.cudnn.deterministic = True  # else training in float32 on a GPU ends in other bits each time

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Hold the run inside the block, unless another process does.

        Raises:
            StoreError: if the store cannot be written.
        """
        with self.store.lock(self.task.spec) as self.lease:
            yield self.lease is not None

    def require_lease(self) -> None:
        """Call before anything is written.

        Raises:
            LeaseLostError: if another process has taken the run over, since this one was stopped for minutes.
        """
        if self.lease:
            self.lease.require()

    def progress(self, value: dict[str, Any]) -> None:
        """Tell what is being done: to whoever started the run and, in the lease, to everybody."""
        if self.lease and "phase" in value:
            self.lease.note = value
        self._tell(value)

    def tell(self, value: dict[str, Any]) -> None:
        """Tell how a readout goes, by its name."""
        self.progress(value | {"phase": f"{self.doing}: {value['phase']}"} if "phase" in value else value)

    def should_stop(self) -> bool:
        """Whether the user wants to stop.

        Raises:
            LeaseLostError: if another process has taken the run over.
        """
        self.require_lease()
        return self._asked_to_stop()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """What goes wrong inside the block becomes the outcome, and is recorded; the caller holds the run.

        Raises:
            LeaseLostError: if another process has taken the run over: what goes wrong with it then is not its own failure.
            StoreError: if the store is gone.
        """
        try:
            with warnings_noted(self.folder):
                yield
        except LeaseLostError:
            raise
        except InterruptedRunError as stop:
            self.folder.log(f"stopped: {stop}")
            self.outcome = Outcome("stopped", str(stop), stop.scored)
        except BaseBusyError as busy:
            self.outcome = Outcome("busy", str(busy))
        except OSError as error:
            self.store.still_there()
            full = unwritable(self.task.places.store, error)
            reason = f"error: {error}" if self.folder.path.is_dir() else "its folder was moved or removed meanwhile"
            self.outcome = full or self.failed(reason, traceback.format_exc())
        except DivergedError as error:
            self.outcome = self.failed(f"diverged: {error}")
        except UnreadableError as error:  # nothing is known of what is there, so that it stays
            self.outcome = Outcome("failed", str(error))
        except (BaseFailedError, ChangedError, DatasetError, DeviceMemoryError) as error:
            self.outcome = self.failed(str(error))
        except torch.OutOfMemoryError as error:
            self.outcome = self.failed(shortage_words(error, "", None))
        except MemoryError:
            self.outcome = self.failed("out of memory")
        except Exception as error:
            self.outcome = self.failed(f"error: {type(error).__name__}: {error}", traceback.format_exc())
            if self.task.raises:
                raise

    def failed(self, reason: str, details: str = "") -> Outcome:
        """Record a failure of a run that is held."""
        self.require_lease()
        return failure(self.task, reason, details)

    def prepare(self) -> bool:
        """Whether there is something to do; what may not be used is set aside, and the run is marked as being worked on."""
        task, found = self.task, self.store.lookup(self.task)
        if not task.fresh and (found.state == "hit" or found.diverged):
            self.outcome = Outcome("hit" if found.state == "hit" else "failed", found.reason)
            return False
        if task.fresh or found.state in ("stale", "corrupt"):
            self.store.set_aside(task.spec)
        self.begin(found)
        return True

    def begin(self, found: Lookup) -> None:
        """Mark the run as being worked on, and say in its log where and from what."""
        self.store.prepare(self.task.spec)
        where = f"on {platform.node()}, process {os.getpid()}, {self.device}"
        self.folder.log(f"begun {where}, torch {torch.__version__}: {found.reason or found.state}")

    def build(self) -> Model:
        """The untrained model, on the dataset and by the code and libraries that the run was planned with.

        Raises:
            ChangedError: if the dataset's content, the code or a library has changed since.
            DatasetError: if the dataset cannot be read any more.
        """
        places, spec = self.task.places, self.task.spec
        if changed := next(filter(None, map(replaced, (self.task.training, *self.task.reading))), ""):
            raise ChangedError(f"{changed} since the run was planned; the same command plans it anew")
        dataset = load_dataset(self.task.source, places.data, places.cache, decoding(self.progress))
        if dataset.digest != spec.dataset_digest:
            raise ChangedError(
                f"dataset '{spec.dataset}' changed since the run was planned; the same command plans it anew"
            )
        return build_model(spec, dataset, self.device)

    def trained(self) -> tuple[Model, dict[str, Any]]:
        """The trained model with what is known of its training: from the store, or trained now as far as time allows.

        Raises:
            InterruptedRunError: if training was stopped before anything can be read out.
            BaseFailedError: if the run that this one starts from cannot be had.
            ChangedError: if this is no longer what was planned.
            DeviceMemoryError: if the device has too little memory for it.
        """
        model, training = self.build(), self.folder.training()
        if training and not unfinished(training):
            model.load(load_file(self.folder / "checkpoint.safetensors", device=str(self.device)))
            return model, training
        facts = model.facts()
        if self.task.base is not None:
            weights, training = self.base(self.task.base)
            model.start_from(weights)
            if training["steps_asked"]:  # else its weights come from elsewhere
                self.code = started_from(self.code, training["stage"], self.task.base.training)
            self.start = (training["checkpoint"],)
        session = self.session()
        try:
            model.fit(session)
            session.finish()
            steps = model.steps()
        except InterruptedRunError:
            if self.should_stop() or not model.leave_off():
                raise
            steps = session.done
        except torch.OutOfMemoryError as error:
            settings = self.task.spec.config.get(session.phase.replace("-", "_"), {})
            raise DeviceMemoryError(shortage_words(error, session.phase, settings.get("batch_size"))) from error
        training = self.record_training(model, facts, session, steps)
        if not unfinished(training):
            session.forget()
        return model, training

    def base(self, task: Task) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
        """The weights of the run that this one starts from, and what is known of its training, which is done now where it is to be done.

        Raises:
            BaseFailedError: if it failed.
            BaseBusyError: if another process is at work on it.
            InterruptedRunError: if its training was stopped.
        """
        run = Run(replace(task, deadline=self.task.deadline), self.progress, self.should_stop)
        name = task.spec.model
        known = run.folder.training()
        stale = stale_training(known, task) if known and known["steps_asked"] else ""
        if known and not unfinished(known) and not (stale and task.retrain):  # whoever only reads it needs no lease
            if stale:
                words = f"is stale ({stale}) and kept, so that this run is stale too; --retrain redoes both"
                self.progress({"warning": f"{name}, which this run starts from, {words}"})
            model, training = run.trained()
            return model.state(), training
        with run.held() as mine:
            if not mine:
                raise BaseBusyError(f"another process works on {name}, which this run starts from")
            if (found := run.store.lookup(task)).diverged:
                raise BaseFailedError(f"{name}, which this run starts from, {found.reason}")
            if found.state == "stale":
                run.store.set_aside(task.spec)
            if (known := run.folder.training()) is None or unfinished(known):
                run.begin(found)
            try:
                model, training = run.trained()
            except DivergedError as error:
                run.require_lease()
                run.store.fail(task, f"diverged: {error}")
                raise BaseFailedError(f"{name}, which this run starts from, diverged: {error}") from error
            except DeviceMemoryError as error:
                raise BaseFailedError(f"{name}, which this run starts from, ran {error}") from error
        if unfinished(training):
            raise InterruptedRunError(f"{name}, which this run starts from, is unfinished")
        return model.state(), training

    def session(self) -> Session:
        """A training session, from wherever the last one was left; it stops in time for what is unfinished to be scored."""
        self.folder.write_json("env.json", environment(self.device), more=True)
        end = self.deadline - scoring_time(self.deadline - time.monotonic())
        code = " ".join((self.task.training.digest, self.device.type, *self.start))
        return Session(self.folder.path, code, self.progress, lambda: self.should_stop() or time.monotonic() > end)

    def must_stop(self) -> bool:
        """Whether the user wants to stop or the time is up."""
        return self.should_stop() or time.monotonic() > self.deadline

    def record_training(self, model: Model, facts: Mapping[str, Any], session: Session, steps: int) -> dict[str, Any]:
        """Keep the model as it is now, drop what was read out of an earlier checkpoint, and say how far training is."""
        self.require_lease()
        folder, asked = self.folder, model.steps()
        (folder / "training.json").unlink(missing_ok=True)  # it vouches for the checkpoint that is replaced
        write_bytes(folder / "checkpoint.safetensors", save(dict(model.state())), more=True)
        curve = ["curve.jsonl"] if steps == asked else []  # that of an unfinished run grows
        files = folder.hashes("checkpoint.safetensors", *curve)
        training = {
            "stage": self.code.to_json(),
            "device": self.device.type,
            "checkpoint": files["checkpoint.safetensors"],
            "files": files,
            "facts": dict(facts),
            "data": data_facts(model.dataset),
            "capabilities": capabilities(model),
            "seconds": session.seconds,
            "peak_memory": peak_memory(self.device),
            "steps_done": steps,
            "steps_asked": asked,
            "phase": session.phase,
        }
        folder.write_json("training.json", training)
        for path in list((folder / "evals").iterdir()):
            path.unlink()
        return training

    def read_out(self, model: Model, training: Mapping[str, Any]) -> None:
        """Every readout, then the status. Where there is a deadline, samples are scored first and log Z is left for last.

        Raises:
            InterruptedRunError: if it was stopped; `scored` says whether there are scores of it all the same.
            DivergedError: if a score is not finite.
        """
        task, partly = self.task, unfinished(training)
        context = Context(model, model.dataset, self.store.cache, task.places.weights, self.tell, self.must_stop)
        seconds = {"training": float(training["seconds"]), "sampling": 0.0, "scoring": 0.0}
        late = partly
        hurried = self.deadline < math.inf
        stages = sorted(zip(task.readouts, task.reading, strict=True), key=lambda stage: hurried and stage[0].turn)
        for number, (readout, code) in enumerate(stages):
            deadline = self.deadline if number else math.inf  # there is time for one
            try:
                result = self.evaluation(readout, code, training["checkpoint"], context, deadline)
            except InterruptedRunError:
                late = True
                break  # what is scored by now counts
            except DivergedError as error:
                if not partly:
                    raise
                self.progress({"warning": f"after {progress_words(training)}: {error}"})
                continue
            for part in ("sampling", "scoring"):
                seconds[part] += result["seconds"][part]
        self.require_lease()
        if late:
            self.store.finish(task, "unfinished", progress_words(training), seconds)
            scored = any((self.folder / "evals").glob("*.json"))
            words = f"{'scored' if scored else 'stopped'} after {progress_words(training)}"
            raise InterruptedRunError(words, scored=scored)
        self.store.finish(task, "done", "", seconds)
        self.outcome = Outcome("done", memory_words(training["peak_memory"]))

    def evaluation(
        self, readout: Readout, code: Stage, checkpoint: str, context: Context, deadline: float
    ) -> dict[str, Any]:
        """One readout of a trained model; if it is already there by the same checkpoint and code it is kept."""
        identity = readout.identity(checkpoint)
        if (found := self.folder.evaluation(identity)) and not difference(found["stage"], code):
            return found
        if self.should_stop() or time.monotonic() > deadline:
            raise InterruptedRunError("stopped between evaluations")
        read: Callable[[Readout, Context], Result] = registry.Entry(identity, "", readout.reader).load()
        self.doing = readout.title
        self.progress({"phase": self.doing})
        with left_when(lambda: self._asked_to_stop() or time.monotonic() > deadline):
            result = read(readout, context)
        check_finite(result)
        self.require_lease()
        names = []
        for name, array in result.arrays.items():
            names.append(f"evals/{identity}-{name}.npy")
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            write_bytes(self.folder / names[-1], buffer.getvalue(), more=True)
        value = {
            "identity": identity,
            "readout": readout.model_dump(mode="json"),
            "stage": code.to_json(),
            "files": self.folder.hashes(*names),
            "seconds": dict(result.seconds),
            **result.values,
        }
        self.folder.write_json(f"evals/{identity}.json", value)
        return value


@contextmanager
def left_when(must_stop: Callable[[], bool]) -> Iterator[None]:
    """Leave the block by InterruptedRunError within a second of having to, whatever it computes; for what starts anew later.

    Where an alarm cannot be set, outside the main thread, the block has to ask for itself. `must_stop` is called between any two steps
    of the block, and may take no lock that the block takes.
    """

    def look(_signal: int, _frame: Any) -> None:
        if must_stop():
            raise InterruptedRunError("stopped in an evaluation")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 1.0, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def failure(task: Task, reason: str, details: str = "") -> Outcome:
    """Make a failed run a row with its reason, and keep a traceback for whoever looks into it; the caller holds the run."""
    try:
        Store(task.places.store).fail(task, reason, details)
    except OSError as error:
        unwritten = f"cannot write to the store {task.places.store}: {error.strerror}"
        return Outcome("abort", f"{unwritten}; and before that: {reason}")
    return Outcome("failed", reason)


def record_death(task: Task, reason: str) -> Outcome:
    """Record a worker that was killed, unless it had just finished or another process has taken the run over."""
    store = Store(task.places.store)
    with store.lock(task.spec) as mine:
        if not mine:
            return Outcome("busy", "another process works on this run")
        return Outcome("done") if store.lookup(task).state == "hit" else failure(task, reason)


def unwritable(store: Path, error: OSError) -> Outcome | None:
    """An abort, if the error says that nothing can be written any more."""
    elsewhere = error.filename is not None and not Path(str(error.filename)).is_relative_to(store)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) and not elsewhere:
        return Outcome("abort", f"cannot write to the store {store}: {error.strerror}")
    return None


def scoring_time(seconds: float) -> float:
    """How much of the time that a run has is kept for scoring it unfinished: a quarter, and half an hour at most."""
    return min(seconds / 4, 1800.0)


def check_finite(result: Result) -> None:
    """A score that is not a number is a divergence that training did not show.

    Raises:
        DivergedError: naming the score.
    """
    for row in result.values["rows"]:
        for name, value in row["scores"].items():
            if not math.isfinite(value):
                where = f"{result.values['sampler']}, step {row['steps']}"
                raise DivergedError(f"{name} is {value} ({where})")


def decoding(progress: Progress) -> Tell:
    """What decoding tells, as a run's progress, ten times a second at most."""
    shown = 0.0

    def tell(what: str, done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown > 0.1:
            shown = time.monotonic()
            progress({"phase": what, "step": done, "total": total or None})

    return tell


def prepare_extractor(task: Task, extractor: str, progress: Progress, _stop: Any) -> Outcome:
    """Train or load an extractor ahead of the runs that will ask for it, of which `task` is one."""
    from bench.metrics.extractors import load_extractor

    limit_threads(1)
    keep_memory()
    progress({"phase": "extractor"})
    places = task.places
    try:
        dataset = load_dataset(task.source, places.data, places.cache, decoding(progress))
        load_extractor(extractor, dataset, Store(places.store).cache, places.weights)
    except OSError as error:
        return unwritable(places.store, error) or Outcome("abort", f"no extractor {extractor}: {error}")
    except Exception as error:
        return Outcome("abort", f"no extractor {extractor}: {error}")
    return Outcome("done")
