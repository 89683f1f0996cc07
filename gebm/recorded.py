"""Steps of training recorded on a GPU: replayed as one CUDA graph, where Python would launch hundreds of kernels one by one.

A step of the networks here keeps a GPU busy for a fifth of the time that its launches take. A recorded step computes what the step in
Python does, bit for bit, random numbers included; but it does *only* what the device did while it was recorded. So it suits steps whose
tensors keep their places, which read no value back, and whose course depends on nothing in Python that changes: what changes is given as
an input, is part of the step's key, or stays outside. Gradients are left in `.grad` by the step that was recorded last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Losses", "Recording", "StepRecorder", "records_on"]

Losses = dict[str, Tensor]
Step = Callable[..., Losses]
RECORDED_ON = ("cuda",)
WARM_UP = 3
"""Calls of a step before it is recorded: in the first ones Adam makes its moments and libraries choose kernels."""


def records_on(device: torch.device) -> bool:
    """Whether steps may be recorded on this device."""
    return device.type in RECORDED_ON


@dataclass(frozen=True)
class Recording:
    """A step on the tensors it was recorded on: `replay` takes it again, from `inputs` to `losses`."""

    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]
    losses: Losses

    def __call__(self, *inputs: Tensor) -> Losses:
        """Take the step on these inputs, or raise ValueError if they have not the shapes it was recorded with."""
        for own, given in zip(self.inputs, inputs, strict=True):
            if own.shape != given.shape:
                raise ValueError(f"the step was recorded on {tuple(own.shape)}, it was given {tuple(given.shape)}")
            own.copy_(given)
        self.replay()
        return {name: value.clone() for name, value in self.losses.items()}


class StepRecorder:
    """Calls steps; on a GPU it records each when that has been called `WARM_UP` times, and replays it from then on.

    Parameters that the steps change stay where they are, and modules in the modes they are in, until `forget`. A phase whose recording has
    failed is of no use any more.

    Arguments:
        generator: source of all randomness in the steps, on the device where they run.
        active: False calls every step as it is, on any device.

    Example:
        >>> recorder = StepRecorder(torch.Generator(), active=True)  # on a CPU steps are only called
        >>> recorder("double", lambda x: {"loss": 2 * x}, torch.ones(()))
        {'loss': tensor(2.)}
    """

    def __init__(self, generator: torch.Generator, active: bool) -> None:
        self.generator = generator
        self.active = active and records_on(generator.device)
        self.calls: Counter[Hashable] = Counter()
        self.recordings: dict[Hashable, Recording] = {}

    def __call__(self, key: Hashable, step: Step, *inputs: Tensor) -> Losses:
        """Take a step: the one known by this key, which is always given the same `step` and inputs of the same shapes."""
        if not self.active:
            return step(*inputs)
        if key not in self.recordings:
            self.calls[key] += 1
            if self.calls[key] <= WARM_UP:
                return step(*inputs)
            self.recordings[key] = self.record(step, *inputs)
        return self.recordings[key](*inputs)

    def record(self, step: Step, *inputs: Tensor) -> Recording:
        """Return a recording of the step, which is not taken."""
        device, own = self.generator.device, tuple(each.clone() for each in inputs)
        with torch.cuda.device(device):
            graph = torch.cuda.CUDAGraph()
            graph.register_generator_state(self.generator)  # its numbers go on from replay to replay
            with torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):  # type: ignore[no-untyped-call]
                losses = step(*own)
        return Recording(graph.replay, own, losses)

    def forget(self) -> None:
        """Drop all recordings: tensors of the steps have been replaced by others."""
        self.calls.clear()
        self.recordings.clear()
