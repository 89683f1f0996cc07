from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from bench.metrics.extractors import Extractor, Features, train_classifier
from bench.metrics.frechet import Moments
from bench.metrics.scores import FeatureSets, Reference, ball_radii, reference


@dataclass(frozen=True)
class Digits:
    """uint8 (N, 1, 8, 8) images and their labels, by split."""

    images: dict[str, Tensor]
    labels: dict[str, Tensor]

    @property
    def dataset(self) -> SimpleNamespace:
        """What extractors need of a dataset."""
        images, labels = ({k: v.numpy() for k, v in each.items()} for each in (self.images, self.labels))
        return SimpleNamespace(name="digits", digest="digest", levels=256, splits=images, labels=labels)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """scikit-learn's real digits: 1,397 for training, 400 held out, by a fixed random permutation."""
    data = load_digits()
    images = torch.from_numpy((data.images * 255 / 16).round()).to(torch.uint8)[:, None]
    labels = torch.from_numpy(data.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    splits = {"train": order[:1397], "test": order[1397:]}
    return Digits({k: images[v] for k, v in splits.items()}, {k: labels[v] for k, v in splits.items()})


@pytest.fixture(scope="session")
def extractor(digits: Digits) -> Extractor:
    return train_classifier(digits.images["train"], digits.labels["train"], seed=0, name="digits-cnn")


@pytest.fixture(scope="session")
def real(digits: Digits, extractor: Extractor) -> Reference:
    return reference(digits.images["train"], extractor, "digits", "train")


@pytest.fixture(scope="session")
def held_out(digits: Digits, extractor: Extractor) -> Features:
    return extractor.features(digits.images["test"])


@pytest.fixture(scope="session")
def plain() -> Extractor:
    """Two pixels in, the same two numbers as embedding and logits out."""
    return Extractor("plain", "0" * 64, Plain())


class Plain(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.flatten(1).float(), images.flatten(1).float()


@pytest.fixture(scope="session")
def compare(plain: Extractor) -> Callable[..., FeatureSets]:
    """Sets of given embeddings, and of given logits where those matter."""

    def made(generated: Tensor, real: Tensor, *logits: Tensor) -> FeatureSets:
        ours, theirs = logits or (torch.zeros(len(generated), 2), torch.zeros(len(real), 2))
        radii = ball_radii(real) if len(real) > 3 else torch.zeros(len(real))
        features = Features(real, theirs)
        return FeatureSets(
            Features(generated, ours), Reference("d", "train", "1" * 64, plain, features, Moments.of(real), radii)
        )

    return made
