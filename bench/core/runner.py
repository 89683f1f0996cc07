"""One run from spec to status: dataset, fit, checkpoint, evaluations, status last.

`execute` may be called in any process; the run's lock makes sure that it is done once. It never raises for what can go wrong with a run:
a run that fails is a row with its reason.
"""

from __future__ import annotations

import errno
import functools
import io
import math
import os
import platform
import resource
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from bench.chains.judge import ChainJudge
from bench.core import registry
from bench.core.files import write_bytes
from bench.core.session import InterruptedRunError, Progress, Session
from bench.core.spec import DensityReadout, ImageReadout, Readout
from bench.core.store import RunFolder, Store, fingerprint, versions
from bench.core.task import Outcome, Task, record_failure
from bench.data import Dataset, load_dataset
from bench.data.decoded import Tell
from bench.densities.likelihoods import LikelihoodReader
from bench.images.evaluation import Evaluator, Result, load_extractor
from bench.images.models import Model, build_model
from gebm.training import DivergedError

__all__ = ["execute", "prepare_extractor"]

fingerprint()  # taken on import, while the code on disk is the code in memory; workers inherit it


def execute(task: Task, progress: Progress, should_stop: Callable[[], bool]) -> Outcome:
    """Do what is missing of a run, and only that."""
    store = Store(task.store)
    with store.lock(task.spec) as mine:
        if not mine:
            return Outcome("busy", "another process works on this run")
        try:
            return _execute(task, store, progress, should_stop)
        except InterruptedRunError as stop:
            scored = store.folder(task.spec).scored_so_far()
            return Outcome("stopped", str(stop), scored is not None)
        except OSError as error:
            return unwritable(task.store, error) or record_failure(task, f"error: {error}", traceback.format_exc())
        except DivergedError as error:
            return record_failure(task, f"diverged: {error}")
        except (MemoryError, torch.OutOfMemoryError):
            return record_failure(task, "out of memory")
        except Exception as error:
            return record_failure(task, f"error: {type(error).__name__}: {error}", traceback.format_exc())


def unwritable(store: Path, error: OSError) -> Outcome | None:
    """An abort, if the error says that nothing can be written any more."""
    elsewhere = error.filename is not None and not Path(str(error.filename)).is_relative_to(store)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) and not elsewhere:
        return Outcome("abort", f"cannot write to the store {store}: {error.strerror}")
    return None


def _execute(task: Task, store: Store, progress: Progress, should_stop: Callable[[], bool]) -> Outcome:
    spec = task.spec
    torch.set_num_threads(spec.threads)
    found = store.lookup(spec, task.readouts, task.device)
    if not task.fresh and found.state == "hit":
        return Outcome("hit")
    if not task.fresh and found.diverged:
        return Outcome("failed", found.reason)
    if task.fresh or found.state in ("stale", "corrupt"):
        store.set_aside(spec)
    folder = store.prepare(spec)
    device = resolve_device(task.device)
    if not folder.training():
        folder.write_json("env.json", environment(device))
    dataset = load_dataset(task.dataset_source, task.data, task.cache, decoding(progress))
    if dataset.digest != spec.dataset_digest:
        raise ValueError(f"dataset '{spec.dataset}' changed since the run was planned")
    model = build_model(spec, registry.get("models", spec.model).load(), dataset, device)
    deadline = math.inf if task.deadline is None else task.deadline
    leave_off = deadline - scoring_time(deadline - time.monotonic())

    def must_stop() -> bool:
        return should_stop() or time.monotonic() > deadline

    read = reader(task, store, model, dataset, progress, must_stop)
    try:
        training = train(model, folder, progress, lambda: should_stop() or time.monotonic() > leave_off)
    except InterruptedRunError as stop:
        if should_stop() or not (words := model.stand()):
            raise
        scored = score_unfinished(task, folder.unfinished, model, words, read, progress, must_stop)
        raise InterruptedRunError(f"{'scored' if scored else 'stopped'} after {words}") from stop
    seconds = {"training": float(training["seconds"]), "sampling": 0.0, "scoring": 0.0}
    for result in evaluate(task, folder, training["checkpoint"], read, must_stop):
        for part in ("sampling", "scoring"):
            seconds[part] += result["seconds"][part]
    store.finish(spec, "done", "", seconds)
    return Outcome("done", peak_words(training["peak_memory"]))


def scoring_time(seconds: float) -> float:
    """How much of the time that a run has is kept for scoring it unfinished: a quarter, and half an hour at most."""
    return min(seconds / 4, 1800.0)


def train(model: Model, folder: RunFolder, progress: Progress, should_stop: Callable[[], bool]) -> dict[str, Any]:
    """The finished training of a run: loaded if it is there, else done, from wherever it was left."""
    if training := folder.training():
        model.load(load_file(folder / "checkpoint.safetensors", device=str(model.device)))
        return training
    facts = model.facts()
    session = Session(folder.path, f"{fingerprint()} {model.device.type}", progress, should_stop)
    model.fit(session)
    write_bytes(folder / "checkpoint.safetensors", save(model.state()))
    session.finish()
    files = folder.hashes("checkpoint.safetensors", "curve.jsonl")
    training = {
        "fingerprint": fingerprint(),
        "device": model.device.type,
        "checkpoint": files["checkpoint.safetensors"],
        "files": files,
        "facts": facts,
        "seconds": session.seconds,
        "peak_memory": peak_memory(model.device),
    }
    folder.write_json("training.json", training)
    session.forget()
    return training


def score_unfinished(
    task: Task,
    folder: RunFolder,
    model: Model,
    words: str,
    read: Callable[[Readout], Result],
    progress: Progress,
    should_stop: Callable[[], bool],
) -> bool:
    """Keep a model that had to leave off, say how far it is, and score it while there is time: chains last.

    These files vouch for one another but for no run: its status is not written, and its state for going on is not touched.

    Returns:
        Whether there is a score.
    """
    (folder / "evals").mkdir(parents=True, exist_ok=True)
    write_bytes(folder / "checkpoint.safetensors", save(model.state()))
    files = folder.hashes("checkpoint.safetensors")
    checkpoint = files["checkpoint.safetensors"]
    stamp = {"fingerprint": fingerprint(), "device": model.device.type, "checkpoint": checkpoint}
    folder.write_json("training.json", stamp | {"files": files, "progress": words})
    kept = {readout.identity(checkpoint) for readout in task.readouts}
    for path in list((folder / "evals").iterdir()):
        if path.name[:16] not in kept:  # of an earlier checkpoint
            path.unlink()
    for readout in sorted(task.readouts, key=lambda each: each.kind in ("chain", "trace")):
        try:
            evaluation(folder, checkpoint, readout, read)
        except DivergedError as error:
            progress({"warning": f"after {words}: {error}"})
        except InterruptedRunError:
            break
        if should_stop():
            break
    return any((folder / "evals").glob("*.json"))


def evaluate(
    task: Task, folder: RunFolder, checkpoint: str, read: Callable[[Readout], Result], should_stop: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Every readout of a trained model; those already there by the same checkpoint and code are kept."""
    results: list[dict[str, Any]] = []
    for readout in task.readouts:
        if results and should_stop():
            raise InterruptedRunError("stopped between evaluations")
        results.append(evaluation(folder, checkpoint, readout, read))
    return results


def reader(
    task: Task, store: Store, model: Model, dataset: Dataset, progress: Progress, should_stop: Callable[[], bool]
) -> Callable[[Readout], Result]:
    """What reads out a model, loading for it what it needs, once."""

    @functools.cache
    def evaluator(extractor: str) -> Evaluator:
        progress({"phase": "scoring"})
        loaded = load_extractor(extractor, dataset, store.cache, task.weights).to(model.device)
        return Evaluator(dataset, loaded, store.cache, progress, should_stop)

    judge = functools.cache(lambda: ChainJudge(model, progress))

    def read(readout: Readout) -> Result:
        if isinstance(readout, ImageReadout):
            return evaluator(readout.extractor).read(model, readout)
        if isinstance(readout, DensityReadout):
            return LikelihoodReader(model, progress).read(readout)
        return judge().read(readout)

    return read


def evaluation(
    folder: RunFolder, checkpoint: str, readout: Readout, read: Callable[[Readout], Result]
) -> dict[str, Any]:
    """One readout of a trained model; if it is already there by the same checkpoint and code it is kept."""
    identity = readout.identity(checkpoint)
    return folder.evaluation(identity) or keep(folder, identity, readout, read(readout))


def keep(folder: RunFolder, identity: str, readout: Readout, result: Result) -> dict[str, Any]:
    """Write one evaluation: its images and arrays first, then the values that list their hashes."""
    check_finite(result)
    arrays = {f"{row['steps']:06}": images for row, images in zip(result.values["rows"], result.images, strict=False)}
    names = []
    for name, array in (arrays | result.arrays).items():
        names.append(f"evals/{identity}-{name}.npy")
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        write_bytes(folder / names[-1], buffer.getvalue())
    value = {
        "identity": identity,
        "readout": readout.model_dump(mode="json"),
        "fingerprint": fingerprint(),
        "files": folder.hashes(*names),
        "seconds": result.seconds,
        **result.values,
    }
    folder.write_json(f"evals/{identity}.json", value)
    return value


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


def resolve_device(name: str) -> torch.device:
    """'auto' is a CUDA device where there is one."""
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))


def environment(device: torch.device) -> dict[str, Any]:
    """What made the numbers: versions and the machine in words, no names or paths."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
    return {
        "versions": versions() | {"python": platform.python_version()},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most memory, in bytes, that this process has had so far: resident, and of a CUDA device what tensors took there."""
    unit = 1 if platform.system() == "Darwin" else 1024
    found = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        found["device"] = torch.cuda.max_memory_allocated(device)
    return found


def peak_words(peak: Mapping[str, int]) -> str:
    """Such as "peak memory 1,204 MiB on the device, 812 MiB resident"."""
    places = {"device": "on the device", "resident": "resident"}
    return "peak memory " + ", ".join(f"{peak[key] / 2**20:,.0f} MiB {at}" for key, at in places.items() if key in peak)


def cpu_name() -> str:
    """The processor's model name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def prepare_extractor(dataset: str, extractor: str, task: Task, progress: Progress, _stop: Any) -> Outcome:
    """Train or load an extractor ahead of the runs that will ask for it, of which `task` is one."""
    torch.set_num_threads(1)
    progress({"phase": "extractor"})
    try:
        loaded = load_dataset(dataset, task.data, task.cache, decoding(progress))
        load_extractor(extractor, loaded, Store(task.store).cache, task.weights)
    except OSError as error:
        return unwritable(task.store, error) or Outcome("abort", f"no extractor {extractor}: {error}")
    except Exception as error:
        return Outcome("abort", f"no extractor {extractor}: {error}")
    return Outcome("done")
