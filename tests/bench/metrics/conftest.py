from dataclasses import dataclass

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bench.metrics.extractors import Extractor, train_classifier


@dataclass(frozen=True)
class Split:
    images: Tensor  # uint8 (N, 1, 8, 8)
    labels: Tensor


@dataclass(frozen=True)
class Digits:
    train: Split
    test: Split


@pytest.fixture(scope="session")
def digits() -> Digits:
    """scikit-learn's real digits: 1,397 for training, 400 held out, by a fixed random permutation."""
    data = load_digits()
    images = torch.from_numpy((data.images * 255 / 16).round()).to(torch.uint8)[:, None]
    labels = torch.from_numpy(data.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:1397], order[1397:]
    return Digits(Split(images[train], labels[train]), Split(images[test], labels[test]))


@pytest.fixture(scope="session")
def extractor(digits: Digits) -> Extractor:
    return train_classifier(digits.train.images, digits.train.labels, seed=0, name="digits-cnn")
