"""Image datasets from decoded arrays, and the map between their integer pixels and what networks see."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.data import Array, Dataset, Inputs
from bench.data.decoded import Allocate
from gebm.components import component

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["PixelCodec", "digits", "put", "put_held_out"]


class PixelCodec:
    """Integer pixels 0 … levels−1 ↔ reals in [−1, 1].

    Dequantisation is uniform: x = 2 (v + u)/levels − 1 with u ~ U(0, 1), whose exact inverse is a floor. Generated images go through the
    same inverse; they are never normalised by their own range.
    """

    MARGIN = 1e-4  # u stays this far inside (0, 1), or rounding in float32 could carry a pixel to its neighbour

    def __init__(self, levels: int) -> None:
        if levels < 2:
            raise ValueError(f"levels must be >= 2, got {levels}")
        self.levels = levels

    def dequantise(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Map integer pixels of any shape to reals in (−1, 1)."""
        import torch

        noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
        noise = noise.mul_(1 - 2 * self.MARGIN).add_(self.MARGIN)
        return (pixels.float() + noise) * (2 / self.levels) - 1

    def quantise(self, x: Tensor) -> Tensor:
        """Map reals to integer pixels 0 … levels−1 (uint8); values outside [−1, 1] are clamped."""
        import torch

        return ((x + 1) * (self.levels / 2)).floor().clamp(0, self.levels - 1).to(torch.uint8)

    def to_bytes(self, pixels: Tensor) -> Tensor:
        """Map integer pixels 0 … levels−1 to 0 … 255 (uint8), as extractors and viewers expect."""
        import torch

        if self.levels == 256:
            return pixels.to(torch.uint8)
        return (pixels.float() * (255 / (self.levels - 1))).round().to(torch.uint8)


def put(allocate: Allocate, split: str, images: Array, labels: Array) -> None:
    """Fill the arrays of a split."""
    allocate(f"{split}.images", images.shape, "u1")[:] = images
    allocate(f"{split}.labels", labels.shape, "i8")[:] = labels


def put_held_out(allocate: Allocate, images: Array, labels: Array) -> None:
    """Fill the held-out splits: the first fifth validates, the rest tests."""
    fifth = len(images) // 5
    put(allocate, "validation", images[:fifth], labels[:fifth])
    put(allocate, "test", images[fifth:], labels[fifth:])


@component(
    "datasets",
    "digits",
    "scikit-learn's 1,797 real 8×8 digits; embedded",
    kind="image",
    digest="2bde270c24bf88765863d91fc91bc0d8a6f66b2e7122770e4680f51429b39146",
)
def digits(inputs: Inputs) -> Dataset:
    """Load the 8×8 handwritten digits that ship with scikit-learn (test part of UCI optdigits), 1,797 images of 17 grey levels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = bunch.images.astype(np.uint8)[:, None]
    order = np.random.default_rng(0).permutation(len(pixels))
    parts = dict(zip(("train", "validation", "test"), np.split(order, [1197, 1397]), strict=True))
    return Dataset(
        name=inputs.label,
        kind="image",
        splits={name: pixels[rows] for name, rows in parts.items()},
        labels={name: bunch.target[rows].astype(np.int64) for name, rows in parts.items()},
        levels=17,
        protocol="shuffled once with seed 0, then 1197 train / 200 validation / 400 test; uniform dequantisation, fresh each epoch",
        provenance="UCI Optical Recognition of Handwritten Digits, as shipped by scikit-learn",
    )
