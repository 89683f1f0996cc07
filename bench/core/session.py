"""One run's training session: it drives phases, keeps the curve, saves so that a killed run continues bit for bit, and stops when asked."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.files import CorruptFileError, read_sealed, write_bytes, write_sealed

ALWAYS_LOGGED = {"held_out_gain", "validation_log_likelihood"}

__all__ = ["InterruptedRunError", "Phase", "Progress", "Session"]

Progress = Callable[[dict[str, Any]], None]


class InterruptedRunError(Exception):
    """The run was asked to stop; what it had done is saved. `scored`: there are scores of what was done."""

    def __init__(self, message: str, *, scored: bool = False) -> None:
        super().__init__(message)
        self.scored = scored


class Phase(Protocol):
    """A resumable loop, such as `gebm.training.AlternatingTraining`."""

    done: int

    @property
    def total(self) -> int: ...
    def step(self) -> dict[str, Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> None: ...


class Session:
    """Drives the phases of one run.

    Arguments:
        folder: the run's directory; `resume.pt` and `curve.jsonl` are kept there.
        code: digest of code, libraries and kind of device; a saved state of another is not continued.
        progress: called with what is being done, a few times a second.
        should_stop: asked after every step.
        log_every: steps between two points of the curve.
        save_every: seconds between two saves.
    """

    def __init__(
        self,
        folder: Path,
        code: str,
        progress: Progress,
        should_stop: Callable[[], bool],
        log_every: int = 50,
        save_every: float = 5.0,
    ) -> None:
        self.folder, self.code, self.progress, self.should_stop = folder, code, progress, should_stop
        self.resume_path = folder / "resume.pt"
        self.log_every, self.save_every = log_every, save_every
        self.phases: dict[str, Any] = {}
        self.curve: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.phase = ""
        self._done: dict[str, int] = {}
        self._clock = time.monotonic()
        self._restore()

    @property
    def done(self) -> int:
        """Steps done so far, over all phases."""
        return sum(self._done.values())

    def drive(self, name: str, phase: Phase) -> None:
        """Run a phase to its end, from wherever a saved state left it.

        Raises:
            InterruptedRunError: if asked to stop; the state is saved.
            DivergedError: if a loss is no longer finite.
        """
        if name in self.phases:
            phase.load_state_dict(self.phases[name])
        self.phase, self._done[name] = name, phase.done
        saved = shown = time.monotonic()
        while phase.done < phase.total:
            losses = phase.step()
            self._done[name] = phase.done
            if phase.done % self.log_every == 0 or phase.done == phase.total or losses.keys() & ALWAYS_LOGGED:
                self._log(name, phase.done, losses)
            now = time.monotonic()
            if now - shown > 0.2:
                shown = now
                losses = self.curve[-1] if self.curve else {}
                self.progress({"phase": name, "step": phase.done, "total": phase.total, "losses": losses})
            stop = self.should_stop()
            if stop or now - saved > self.save_every:
                self._save(name, phase)
                saved = now
            if stop and phase.done < phase.total:
                raise InterruptedRunError(f"stopped in {name} at step {phase.done} of {phase.total}")
        self.phases[name] = phase.state_dict()
        if time.monotonic() - saved > self.save_every:
            self._save(name, phase)

    def finish(self) -> None:
        """Write the curve for good; `seconds` is what training took, over all sessions."""
        self._count_seconds()
        self._write_curve()

    def forget(self) -> None:
        """Drop the resume state; call when the checkpoint is safe."""
        self.resume_path.unlink(missing_ok=True)

    def _log(self, phase: str, step: int, losses: dict[str, Any]) -> None:
        from gebm.training import DivergedError

        values = {key: float(value) for key, value in losses.items()}
        broken = sorted(key for key, value in values.items() if not math.isfinite(value))
        if broken:
            raise DivergedError(f"{', '.join(broken)} not finite in {phase} at step {step}")
        self.curve.append({"phase": phase, "step": step} | values)

    def _save(self, name: str, phase: Phase) -> None:
        import torch

        self._count_seconds()
        self.phases[name] = phase.state_dict()
        buffer = io.BytesIO()
        state = {"code": self.code, "phases": self.phases, "curve": self.curve, "seconds": self.seconds}
        torch.save(state, buffer)
        write_sealed(self.resume_path, buffer.getvalue())
        self._write_curve()

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def _write_curve(self) -> None:
        curve = "".join(json.dumps(point) + "\n" for point in self.curve)
        write_bytes(self.folder / "curve.jsonl", curve.encode(), more=True)

    def _restore(self) -> None:
        import torch

        if not self.resume_path.exists():
            return
        problem = ""
        try:
            state = torch.load(io.BytesIO(read_sealed(self.resume_path)), map_location="cpu", weights_only=True)
            if state["code"] != self.code:
                problem = f"{self.resume_path} was left by other code, libraries or device"
            phases, curve, seconds = dict(state["phases"]), list(state["curve"]), float(state["seconds"])
        except CorruptFileError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{self.resume_path} cannot be read ({error})"
        if problem:
            self.progress({"warning": f"{problem}; this run starts again"})
            return
        self.phases, self.curve, self.seconds = phases, curve, seconds
