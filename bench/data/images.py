"""The map between the integer pixels of images and what networks see."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["PixelCodec"]


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
