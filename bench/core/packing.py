"""How many runs share a CUDA device where nobody says: as many as its memory holds, by the highest peak of a run of the suite."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bench.core.run_folder import RunFolder, StoreError
from bench.core.store import Store
from bench.words import plural

__all__ = ["Packing", "packing_of"]

USABLE = 0.9  # of a device's memory
CONTEXT = 2**29  # bytes that a process takes there besides its tensors: CUDA's own, and blocks that torch keeps


@dataclass
class Packing:
    """Runs side by side on CUDA devices, as far as their memory is known.

    Arguments:
        devices: model and bytes of memory of each.
        cores: most runs on a device, whatever its memory: the processor's share.
        jobs: most runs side by side in all; None if nobody said.
        peaks: highest peak of a run on devices of a model, in bytes, as far as there was one.
    """

    devices: Sequence[tuple[str, int]]
    cores: int
    jobs: int | None = None
    peaks: dict[str, int] = field(default_factory=dict)

    def learn(self, folder: RunFolder) -> None:
        """Take in the peak of a run that was trained on a device, if it is one."""
        with suppress(StoreError):
            training, environment = folder.read_json("training.json") or {}, folder.read_json("env.json") or {}
            model, peak = environment.get("device"), (training.get("peak_memory") or {}).get("device")
            if model and peak is not None:
                self.peaks[model] = max(peak, self.peaks.get(model, 0))

    @property
    def per_device(self) -> int:
        """How many runs share a device: what the least of them holds; one where no peak is known."""
        return max(1, min(self.cores, *(self._fitting(model, memory) for model, memory in self.devices)))

    def _fitting(self, model: str, memory: int) -> int:
        peak = self.peaks.get(model)
        return 1 if peak is None else int(USABLE * memory) // (peak + CONTEXT)

    @property
    def workers(self) -> int:
        """How many runs are side by side."""
        slots = len(self.devices) * self.per_device
        return min(self.jobs or slots, slots)

    @property
    def words(self) -> str:
        """What was decided and why, in a line."""
        models = dict.fromkeys(model for model, _ in self.devices)
        if unknown := [model for model in models if model not in self.peaks]:
            return f"1 run per CUDA device until the peak memory of one on {' and '.join(unknown)} is known"
        known = ", ".join(f"{self.peaks[model] / 2**20:,.0f} MiB on {model}" for model in models)
        runs = f"{plural(self.per_device, 'run')} per CUDA device"
        return f"{runs}, by a peak of {known} and {plural(self.cores, 'core')} each; --jobs-per-device says otherwise"


def packing_of(
    store: Store, runs: Iterable[str], devices: Sequence[tuple[str, int]], cores: int, jobs: int | None = None
) -> Packing:
    """Return what the runs of these ids that are in a store tell; runs that differ in their seed alone are asked once."""
    packing = Packing(devices, cores, jobs)
    asked = set()
    for run in runs:
        alike = run.rpartition("-s")[0]
        if alike not in asked and (store.root / "runs" / run / "training.json").is_file():
            asked.add(alike)
            packing.learn(RunFolder(store.root / "runs" / run))
    return packing
