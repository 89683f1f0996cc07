"""The handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np

from bench.data import Dataset, Inputs
from gebm.components import component

__all__ = ["digits"]


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
        inputs.label,
        "image",
        {name: pixels[rows] for name, rows in parts.items()},
        "shuffled once with seed 0, then 1197 train / 200 validation / 400 test; uniform dequantisation, fresh each epoch",
        "UCI Optical Recognition of Handwritten Digits, as shipped by scikit-learn",
        {name: bunch.target[rows].astype(np.int64) for name, rows in parts.items()},
        levels=17,
    )
