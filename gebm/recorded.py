"""Steps of training recorded on a GPU: replayed as one CUDA graph, where Python would launch hundreds of kernels one by one.

A step of the networks here keeps a GPU busy for a tenth of the time that its launches take. A recorded step computes what the step in
Python does, bit for bit, random numbers included; but it does *only* what the device did while it was recorded. So it suits steps whose
tensors keep their places, which read no value back, and whose course depends on nothing in Python that changes: what changes is given as
an input, is part of the step's key, or stays outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RECORDED_ON", "Losses", "Recording", "StepRecorder"]

Losses = dict[str, Tensor]
Step = Callable[..., Losses]
RECORDED_ON = {"cuda"}
"""Kinds of device on which steps are recorded."""
WARM_UP = 3
"""Calls of a step before it is recorded: in the first ones Adam makes its moments and libraries choose kernels."""


@dataclass(frozen=True)
class Recording:
    """A step on the tensors it was recorded on: `replay` takes it again, from `inputs` to `losses`."""

    replay: Callable[[], None]
    inputs: tuple[Tensor, ...]
    losses: Losses

    def __call__(self, *inputs: Tensor) -> Losses:
        """Take the step on these inputs, of the shapes it was recorded with."""
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.replay()
        return {name: value.clone() for name, value in self.losses.items()}


class StepRecorder:
    """Calls steps; on a GPU it records each when that has been called `WARM_UP` times, and replays it from then on.

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
        self.active = active and generator.device.type in RECORDED_ON
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
        graph, own = torch.cuda.CUDAGraph(), tuple(each.clone() for each in inputs)
        graph.register_generator_state(self.generator)  # its numbers go on from replay to replay
        with torch.cuda.graph(graph):
            losses = step(*own)
        return Recording(graph.replay, own, losses)

    def forget(self) -> None:
        """Drop all recordings: tensors of the steps have been replaced by others."""
        self.calls.clear()
        self.recordings.clear()
