"""Scores of generated images: features of generated and real images in, named numbers and the key they depend on out.

Statistics of the features are formed in float64. Which images are compared and how they were sampled is the caller's business; the
metrics themselves are components, see `bench.metrics.samples`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch_fidelity
from jaxtyping import Float, UInt8
from torch import Tensor

from bench.components import registry
from bench.metrics import DEFAULT_METRICS, qualified_name
from bench.metrics.cache import content_digest, read_or_compute
from bench.metrics.extractors import Extractor, Features
from bench.metrics.frechet import Moments, frechet_curve, frechet_distance
from bench.metrics.neighbours import NEIGHBOURS, ball_radii

__all__ = ["Coverage", "FeatureSets", "Moments", "Reference", "Scores", "frechet_distance", "reference", "score"]

KID_SUBSETS = 10
ISC_SPLITS = 10
RANDOM_SEED = 2020  # torch-fidelity's default
_REFERENCE_VERSION = "reference-2"


@dataclass(frozen=True)
class Coverage:
    """How many of the classes of the real images the generated ones cover."""

    covered: int
    real: int

    @property
    def collapsed(self) -> bool:
        """Whether fewer than half of the real classes are covered: mode collapse."""
        return 2 * self.covered < self.real

    def __str__(self) -> str:
        return f"{self.covered} of {self.real} classes" + (" (collapsed)" if self.collapsed else "")


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images as an extractor sees them: what every set of generated images is compared with.

    Attributes:
        dataset, split: names for the reader.
        digest: sha256 of the images' content, which identifies them.
        extractor: what made the features.
        features: of the real images.
        moments: of their embeddings.
        radii: of their nearest-neighbour balls, (N,).
    """

    dataset: str
    split: str
    digest: str
    extractor: Extractor
    features: Features
    moments: Moments
    radii: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class FeatureSets:
    """Generated and real images as one extractor sees them: what a metric of images is a function of.

    Raises:
        ValueError: if there are fewer than 10 generated images, features of different extractors, or features that are not finite.
    """

    generated: Features
    reference: Reference

    def __post_init__(self) -> None:
        if len(self.generated) < ISC_SPLITS:
            raise ValueError(f"scoring needs at least {ISC_SPLITS} generated images, got {len(self.generated)}")
        for what in ("embedding", "logits"):
            ours, theirs = getattr(self.generated, what), getattr(self.real, what)
            if ours.shape[1] != theirs.shape[1]:
                widths = f"{ours.shape[1]} and {theirs.shape[1]}"
                raise ValueError(f"{what} of width {widths} come from different extractors")
            if not torch.isfinite(ours).all():
                raise ValueError(
                    f"scoring needs finite features; some of the generated images' {what} are NaN or infinite"
                )

    @property
    def real(self) -> Features:
        """Features of the real images."""
        return self.reference.features

    @property
    def kid_subset_size(self) -> int:
        """Images in each random subset that KID is averaged over."""
        return min(1000, len(self.real), len(self.generated))

    @cached_property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(number of generated images, Fréchet distance), the last of all of them."""
        return frechet_curve(self.generated.embedding, self.reference.moments)

    @cached_property
    def coverage(self) -> Coverage:
        """How many predicted classes of the real images have at least a fifth of their share among the generated ones.

        With Inception, whose 1008 classes are not the dataset's, rare predictions make this coarse: an alarm only.
        """
        logits = self.generated.logits, self.real.logits
        counts, expected = (torch.bincount(each.argmax(1), minlength=each.shape[1]) for each in logits)
        enough = 5 * counts * len(self.real) >= expected * len(self.generated)  # shares, in integers
        present = expected > 0
        return Coverage(int((enough & present).sum()), int(present.sum()))

    def embeddings_on_device(self) -> tuple[Tensor, Tensor]:
        """Generated and real embeddings where the extractor computes, for matrices of distances."""
        device = self.reference.extractor.device
        return self.generated.embedding.to(device), self.real.embedding.to(device)

    @property
    def key(self) -> str:
        """All that two scores must share to be compared (FID moves more with protocol than with method), in one line.

        The same for all metrics and whichever of them are asked for, so that adding one leaves the others comparable.
        """
        real, seen = self.reference, self.reference.extractor
        accuracy = "" if seen.accuracy is None else f" ({seen.accuracy:.1%} right on held-out images)"
        return (
            f"{len(self.generated):,} generated vs {len(self.real):,} real ({real.dataset}/{real.split} {real.digest[:8]}), "
            f"{seen.name} {seen.digest[:8]}{accuracy}, resize {seen.resizer}, {seen.dtype}, torch-fidelity {torch_fidelity.__version__}, "
            f"∞ from {self.curve[0][0]:,} to {len(self.generated):,} in {len(self.curve)}, KID {KID_SUBSETS}×{self.kid_subset_size}, "
            f"IS {ISC_SPLITS} splits, P/R k={NEIGHBOURS}, seed {RANDOM_SEED}"
        )


@dataclass(frozen=True)
class Scores:
    """Named values of one set of generated images, under one key.

    Attributes:
        values: reported name ("fid", or "fd[digits-cnn]", …) to number, in the units of `bench.metrics.METRICS`.
        key: what the values depend on besides the generated images.
        coverage: the classes covered, and whether that is a collapse.
        curve: (number of generated images, Fréchet distance), the last of all of them.
    """

    values: Mapping[str, float]
    key: str
    coverage: Coverage
    curve: tuple[tuple[int, float], ...]


def reference(
    images: UInt8[Tensor, "n c h w"], extractor: Extractor, dataset: str, split: str, cache_dir: Path | None = None
) -> Reference:
    """Return features and moments of real images, from `cache_dir` if this extractor has seen this very content before.

    The names of dataset and split take no part in the lookup. The numbers are the same with and without the cache.

    Raises:
        ValueError: if the images are not what the extractor takes, or fewer than four.
        OSError: if the folder cannot be written.
    """
    if len(images) <= NEIGHBOURS:
        raise ValueError(f"a reference needs at least {NEIGHBOURS + 1} images, got {len(images)}")
    digest = content_digest({"images": images})

    def compute() -> dict[str, Tensor]:
        seen = extractor.features(images)
        moments = Moments.of(seen.embedding)
        tensors = {"embedding": seen.embedding, "logits": seen.logits}
        tensors |= {"mean": moments.mean, "covariance": moments.covariance}
        return tensors | {"radii": ball_radii(seen.embedding.to(extractor.device)).cpu()}

    if cache_dir is None:
        found: Mapping[str, Tensor] = compute()
    else:
        where = f"{extractor.dtype} {extractor.device.type} torch={torch.__version__}"
        context = f"{_REFERENCE_VERSION} {extractor.digest} {extractor.resizer} {where}"
        name = content_digest({}, f"{digest} {context}")[:32]
        found = read_or_compute(cache_dir / f"reference-{name}.sealed", compute)
    features, moments = Features(found["embedding"], found["logits"]), Moments(found["mean"], found["covariance"])
    return Reference(dataset, split, digest, extractor, features, moments, found["radii"])


def score(generated: Features, real: Reference, metrics: Iterable[str] = DEFAULT_METRICS) -> Scores:
    """Score generated images against a reference, both seen by the same extractor.

    Raises:
        ValueError: as `FeatureSets`.
        UnknownNameError: if there is no such metric, or its package cannot be imported.
    """
    sets = FeatureSets(generated, real)
    values = {
        qualified_name(name, real.extractor.name): float(registry.get("metrics", name).load()(sets)) for name in metrics
    }
    return Scores(values, sets.key, sets.coverage, sets.curve)
