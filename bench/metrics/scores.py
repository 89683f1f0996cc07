"""Scores of generated images: features of generated and real images in, named numbers and the key they depend on out.

Statistics of the features are formed in float64. The metrics themselves are components, see `bench.metrics.samples`.
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
from bench.metrics.frechet import ORDERS, Moments, frechet_curve, frechet_distance

__all__ = ["FeatureSets", "Moments", "Reference", "ball_radii", "frechet_distance", "reference", "share_within"]

KID_SUBSETS = 10
ISC_SPLITS = 10
RANDOM_SEED = 2020  # torch-fidelity's default
NEIGHBOURS = 3
_ROWS = 1000  # of a matrix of distances at a time: that of 50,000 images would take 10 GB
_REFERENCE_VERSION = "reference-4"


@dataclass(frozen=True, eq=False)
class Reference:
    """Real images of a dataset's split as an extractor sees them; `digest` is the sha256 of their content."""

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
                raise ValueError(f"scoring needs finite features; some generated images' {what} are NaN or infinite")

    @property
    def real(self) -> Features:
        return self.reference.features

    @property
    def kid_subset_size(self) -> int:
        """Images in each random subset that KID is averaged over."""
        return min(1000, len(self.real), len(self.generated))

    @cached_property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """(number of generated images, Fréchet distance), the last of all of them."""
        return frechet_curve(self.generated.embedding, self.reference.moments, self.reference.extractor.device)

    @cached_property
    def coverage(self) -> tuple[int, int]:
        """(covered, real): predicted classes of real images with at least a fifth of their share among generated ones, and all of them.

        With Inception, whose 1008 classes are not the dataset's, rare predictions make this coarse: an alarm only.
        """
        logits = self.generated.logits, self.real.logits
        counts, expected = (torch.bincount(each.argmax(1), minlength=each.shape[1]) for each in logits)
        enough = 5 * counts * len(self.real) >= expected * len(self.generated)  # shares, in integers
        present = expected > 0
        return int((enough & present).sum()), int(present.sum())

    @property
    def collapse(self) -> str:
        """A warning if fewer than half of the real classes are covered, else ''."""
        covered, real = self.coverage
        return f"{covered} of {real} classes (collapsed)" if 2 * covered < real else ""

    def embeddings_on_device(self) -> tuple[Tensor, Tensor]:
        """Generated and real embeddings where the extractor computes, for matrices of distances: about the real mean, since float32
        distances between points far from the origin are mostly rounding.
        """
        device, centre = self.reference.extractor.device, self.reference.moments.mean
        generated, real = ((each.embedding - centre).float().to(device) for each in (self.generated, self.real))
        return generated, real

    def scores(self, metrics: Iterable[str] = DEFAULT_METRICS) -> dict[str, float]:
        """Return the value of each metric by the name it is reported under, or raise an UnknownNameError."""
        reported = {qualified_name(name, self.reference.extractor.name): name for name in metrics}
        return {key: float(registry.get("metrics", name).load()(self)) for key, name in reported.items()}

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
            f"∞ from {self.curve[0][0]:,} to {len(self.generated):,} in {len(self.curve)}×{ORDERS}, "
            f"KID {KID_SUBSETS}×{self.kid_subset_size}, "
            f"IS {ISC_SPLITS} splits, P/R k={NEIGHBOURS}, seed {RANDOM_SEED}"
        )


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
        moments = Moments.of(seen.embedding, extractor.device)
        radii = ball_radii((seen.embedding - moments.mean).float().to(extractor.device)).cpu()
        tensors = {"embedding": seen.embedding, "logits": seen.logits, "radii": radii}
        return tensors | {"mean": moments.mean, "covariance": moments.covariance}

    if cache_dir is None:
        found: Mapping[str, Tensor] = compute()
    else:
        where = f"{extractor.dtype} {extractor.device.type} torch={torch.__version__} {extractor.library}".rstrip()
        context = f"{_REFERENCE_VERSION} {extractor.digest} {extractor.resizer} {where}"
        name = content_digest({}, f"{digest} {context}")[:32]
        found = read_or_compute(cache_dir / f"reference-{name}.sealed", compute)
    features, moments = Features(found["embedding"], found["logits"]), Moments(found["mean"], found["covariance"])
    return Reference(dataset, split, digest, extractor, features, moments, found["radii"])


def ball_radii(embedding: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Return distances to the 3rd nearest neighbour of the same set of at least four, in feature units.

    The union of such balls stands for the manifold of a set of images (Kynkäänniemi et al. 2019).
    """
    nearest = [
        torch.cdist(rows, embedding).topk(NEIGHBOURS + 1, largest=False) for rows in torch.split(embedding, _ROWS)
    ]
    return torch.cat([each.values[:, -1] for each in nearest])


def share_within(points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float[Tensor, " m"]) -> float:
    """Return the share of points that lie in a ball around any centre."""
    within = torch.cat([(torch.cdist(rows, centres) <= radii).any(1) for rows in torch.split(points, _ROWS)])
    return within.float().mean().item()
