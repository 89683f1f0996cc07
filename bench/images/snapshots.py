"""A base kept on the way: what its score against training steps is read from."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from gebm.base import Base
from gebm.energy_steps import Losses
from gebm.training import AlternatingTraining

__all__ = ["SnapshotTraining"]


class SnapshotTraining:
    """Alternating training that keeps copies of its base, as it would be sampled then; it trains bit for bit as without them.

    Arguments:
        training: driven by this one from here on.
        at: base steps after which to keep a copy.

    Attributes:
        snapshots: the copies by base step, frozen, in evaluation mode.
    """

    def __init__(self, training: AlternatingTraining, at: Container[int]) -> None:
        self.training, self.at, self.done = training, at, training.done
        self.snapshots: dict[int, Base] = {}

    @property
    def total(self) -> int:
        """Base steps in all."""
        return self.training.total

    def step(self) -> Losses:
        """Take one round of the training, and keep the base when due."""
        losses = self.training.step()
        self.done = self.training.done
        if self.done in self.at:
            self.snapshots[self.done] = self.finish()
        return losses

    def finish(self) -> Base:
        """Return the base as trained so far, see `AlternatingTraining.finish`."""
        return self.training.finish()

    def state_dict(self) -> dict[str, Any]:
        """Return the training's state with that of the copies."""
        return self.training.state_dict() | {"snapshots": {n: base.state_dict() for n, base in self.snapshots.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from such a state."""
        self.training.load_state_dict(state)
        self.done = self.training.done
        for step, weights in state["snapshots"].items():
            base = self.snapshots[step] = copy.deepcopy(self.training.base)
            base.load_state_dict(weights)
            base.eval().requires_grad_(False)
