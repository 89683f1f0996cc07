"""Named random streams, derived by hash, so that what should be shared between models is and nothing else is.

A stream's seed is a hash of (base seed, dataset, repeat, stream name), and of the model's name unless the stream is paired: then every
model of a comparison sees the same initial weights, the same data in the same order and the same evaluation latents. Seed 0 is a seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["PAIRED", "Streams"]

PAIRED = frozenset(
    {
        *("data-order", "generator-init", "discriminator-init", "evaluation-latents", "chain-noise"),
        *("train-noise", "validation-noise", "test-noise", "likelihood"),
    }
)


@dataclass(frozen=True)
class Streams:
    """The random streams of one run.

    Example:
        >>> gebm, gan = Streams(0, "digits", 0, "gebm"), Streams(0, "digits", 0, "gan-ns")
        >>> gebm.seed("data-order") == gan.seed("data-order"), gebm.seed("training") == gan.seed("training")
        (True, False)
    """

    base_seed: int
    dataset: str
    repeat: int
    model: str

    def seed(self, name: str) -> int:
        """A 63-bit seed for the stream `name`."""
        parts = [str(self.base_seed), self.dataset, str(self.repeat), name]
        if name not in PAIRED:
            parts.append(self.model)
        digest = hashlib.sha256("\0".join(parts).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A fresh generator at the start of the stream `name`."""
        import torch

        return torch.Generator(device).manual_seed(self.seed(name))
