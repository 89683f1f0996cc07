"""Sheets of images: uint8 arrays in rows and columns, as pixels and as PNG files."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_rows", "mosaic", "png_of", "sheet"]

Pixels = NDArray[np.uint8]
LEAST_SIDE = 32  # pixels that an image is wide at least, in whole multiples of its own


def in_rows(images: Pixels, columns: int) -> Pixels:
    """Return (n, channels, height, width) as (rows, columns, channels, height, width), white where images are missing."""
    blank = np.full((-len(images) % columns, *images.shape[1:]), 255, np.uint8)
    return np.concatenate([images, blank]).reshape(-1, columns, *images.shape[1:])


def mosaic(images: Pixels) -> Pixels:
    """Return (rows, columns, channels, height, width) as one image of (height, width, 3), a white pixel between neighbours."""
    colour = np.broadcast_to(images, (*images.shape[:2], 3, *images.shape[3:]))
    padded = np.pad(colour, ((0, 0),) * 3 + ((0, 1),) * 2, constant_values=255)
    rows, columns, _, height, width = padded.shape
    return padded.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)[:-1, :-1]


def sheet(images: Pixels, columns: int = 8) -> Pixels:
    """Return (n, channels, height, width) as one image of (height, width, 3), small images enlarged."""
    scale = -(-LEAST_SIDE // images.shape[-1])
    return mosaic(in_rows(images.repeat(scale, 2).repeat(scale, 3), min(columns, len(images))))


def png_of(pixels: Pixels) -> bytes:
    """Return an image of (height, width, 3) as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
