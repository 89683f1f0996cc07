"""Minibatches of a tensor, endless and resumable."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["DataStream", "Prepare"]

Prepare = Callable[[Tensor, torch.Generator], Tensor]
"""Raw batch → what the networks see, with randomness from the generator and nowhere else."""


class DataStream:
    """Endless minibatches of a tensor that lives on the device: a fresh permutation per epoch, incomplete batches carried over.

    Arguments:
        data: (n, *shape), any dtype.
        batch_size: rows per batch, at most n.
        generator: the order of the data, and the randomness of `prepare`.
        prepare: raw batch → what the networks see (dequantisation, scaling).

    Raises:
        ValueError: if `batch_size` is not between 1 and n.

    Example:
        >>> stream = DataStream(torch.arange(3.0), 2, torch.Generator().manual_seed(0))
        >>> sorted(torch.cat([stream.next(), stream.next(), stream.next()]).tolist())  # two epochs
        [0.0, 0.0, 1.0, 1.0, 2.0, 2.0]
    """

    def __init__(
        self, data: Tensor, batch_size: int, generator: torch.Generator, prepare: Prepare | None = None
    ) -> None:
        if not 1 <= batch_size <= data.shape[0]:
            raise ValueError(f"batch_size must be between 1 and the {data.shape[0]} rows of the data, got {batch_size}")
        self.data, self.batch_size, self.generator, self.prepare = data, batch_size, generator, prepare
        self.order = torch.empty(0, dtype=torch.long, device=data.device)

    def next(self) -> Float[Tensor, "batch ..."]:
        """Return the next prepared minibatch."""
        if self.order.shape[0] < self.batch_size:
            fresh = torch.randperm(self.data.shape[0], generator=self.generator, device=self.data.device)
            self.order = torch.cat([self.order, fresh])
        rows, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        batch = self.data[rows]
        return batch if self.prepare is None else self.prepare(batch, self.generator)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the rows not yet seen in this epoch, and the generator."""
        return {"order": self.order.clone(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue where `state` was taken."""
        self.order = state["order"].to(self.data.device)
        self.generator.set_state(state["generator"])
