"""From features of generated and real images to named numbers, by torch-fidelity's own functions but for two.

At the scale of papers its Fréchet distance takes too long and its precision and recall too much memory; here the first goes by another
route and the second in parts, and tests hold both to torch-fidelity's numbers. Every number comes with its `ScoreKey`. Statistics of
the features are formed in float64. Which images are compared and how they were sampled is the caller's business; the features come
from `bench.metrics.extractors`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
import torch_fidelity
from jaxtyping import Float, UInt8
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from bench.metrics import qualified_name
from bench.metrics.extractors import Extractor, Features
from bench.metrics.keys import ScoreKey
from bench.metrics.sealed import content_digest, read_or_compute

__all__ = [
    "Coverage",
    "Moments",
    "Reference",
    "ScoreKey",
    "Scores",
    "class_coverage",
    "collapsed",
    "extrapolated",
    "frechet_curve",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "precision_recall",
    "reference",
    "score",
]

NEIGHBOURS = 3
INFINITY_POINTS = 10
RANDOM_SEED = 2020  # torch-fidelity's default
_REFERENCE_VERSION = "reference-2"
_ROWS = 1000  # of a matrix of distances at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (D,) and unbiased covariance (D, D) of a set of embeddings, float64."""

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]

    @classmethod
    def of(cls, embedding: Float[Tensor, "n d"]) -> Moments:
        """The moments of N ≥ 2 embeddings.

        Raises:
            ValueError: if there are fewer, or any is not finite.
        """
        _require("a Fréchet distance", embedding, 2)
        statistics = fid_features_to_statistics(embedding.double())
        covariance = torch.from_numpy(statistics["sigma"]).reshape(embedding.shape[1], embedding.shape[1])
        return cls(torch.from_numpy(statistics["mu"]), covariance)


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
    """Real images as an extractor sees them, with their balls for precision: what every set of generated images is compared with.

    `device` is where the matrices of distances are formed, the extractor's.
    """

    dataset: str
    split: str
    digest: str
    extractor: str
    extractor_digest: str
    extractor_accuracy: float | None
    resizer: str
    dtype: str
    features: Features
    moments: Moments
    radii: Tensor
    device: torch.device


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
    key: ScoreKey
    coverage: Coverage
    curve: tuple[tuple[int, float], ...]


def reference(
    images: UInt8[Tensor, "n c h w"], extractor: Extractor, dataset: str, split: str, cache_dir: Path | None = None
) -> Reference:
    """Features and moments of real images, from `cache_dir` if this extractor has seen this very content before.

    The names of dataset and split are for the reader and take no part in the lookup. The numbers are the same with and
    without the cache.

    Raises:
        ValueError: if the images are not what the extractor takes, or fewer than four.
        OSError: if the folder cannot be written.
    """
    digest = content_digest({"images": images})

    def compute() -> dict[str, Tensor]:
        seen = extractor.features(images)
        moments = Moments.of(seen.embedding)
        tensors = {
            "embedding": seen.embedding,
            "logits": seen.logits,
            "radii": ball_radii(seen.embedding.to(extractor.device)).cpu(),
        }
        return tensors | {"mean": moments.mean, "covariance": moments.covariance}

    if cache_dir is None:
        tensors = compute()
    else:
        where = f"{extractor.dtype} {extractor.device.type} torch={torch.__version__}"
        context = f"{_REFERENCE_VERSION} {extractor.digest} {extractor.resizer} {where}"
        name = content_digest({}, f"{digest} {context}")[:32]
        tensors = read_or_compute(cache_dir / f"reference-{name}.sealed", compute)
    return Reference(
        dataset,
        split,
        digest,
        extractor.name,
        extractor.digest,
        extractor.accuracy,
        extractor.resizer,
        extractor.dtype,
        Features(tensors["embedding"], tensors["logits"]),
        Moments(tensors["mean"], tensors["covariance"]),
        tensors["radii"],
        extractor.device,
    )


def score(generated: Features, real: Reference, *, kid_subsets: int = 10, isc_splits: int = 10) -> Scores:
    """All scores of generated images against a reference, both seen by the same extractor.

    Arguments:
        generated: features of the generated images.
        real: features and moments of the real images.
        kid_subsets: random subsets that KID is averaged over, each of min(1000, n_real, n_generated) images.
        isc_splits: parts of the generated images over which the Inception Score is averaged.

    Raises:
        ValueError: if there are too few images for one of the statistics, features of different extractors, or features
            that are not finite; the message says what is needed.
    """
    subset_size = min(1000, len(real.features), len(generated))
    coverage = class_coverage(generated.logits, real.features.logits)
    embeddings = generated.embedding.to(real.device), real.features.embedding.to(real.device)
    precision, recall = precision_recall(*embeddings, real.radii.to(real.device))
    curve = frechet_curve(generated.embedding, real.moments)
    values = {
        "fid": curve[-1][1],
        "fid-infinity": extrapolated(curve),
        "is": inception_score(generated.logits, isc_splits),
        "kid": kernel_distance(generated.embedding, real.features.embedding, kid_subsets, subset_size),
        "precision": precision,
        "recall": recall,
        "classes": float(coverage.covered),
    }
    sizes = tuple(size for size, _ in curve)
    key = _key(real, len(generated), sizes, kid_subsets, subset_size, isc_splits)
    return Scores({qualified_name(name, real.extractor): value for name, value in values.items()}, key, coverage, curve)


def _key(
    real: Reference,
    n_generated: int,
    infinity_sizes: tuple[int, ...],
    kid_subsets: int,
    kid_subset_size: int,
    isc_splits: int,
) -> ScoreKey:
    return ScoreKey(
        dataset=real.dataset,
        split=real.split,
        reference_digest=real.digest,
        n_real=len(real.features),
        n_generated=n_generated,
        extractor=real.extractor,
        extractor_digest=real.extractor_digest,
        extractor_accuracy=real.extractor_accuracy,
        resizer=real.resizer,
        dtype=real.dtype,
        torch_fidelity=torch_fidelity.__version__,
        infinity_sizes=infinity_sizes,
        kid_subsets=kid_subsets,
        kid_subset_size=kid_subset_size,
        isc_splits=isc_splits,
        neighbours=NEIGHBOURS,
        random_seed=RANDOM_SEED,
    )


def frechet_distance(first: Moments, second: Moments) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), the squared 2-Wasserstein distance of two Gaussians (Heusel et al. 2017).

    In squared units of the features. With N images it is high by about a constant/N, so compare at equal N only.
    Rounding can make the distance of (nearly) equal sets slightly negative.

    Raises:
        ValueError: if the moments are of different dimensions.
    """
    _same_width("moments", first.mean[None], second.mean[None])
    squared = (first.mean - second.mean).square().sum() + first.covariance.trace() + second.covariance.trace()
    return float(squared) - 2 * _trace_of_root(first.covariance.numpy(), second.covariance.numpy())


def _trace_of_root(first: np.ndarray, second: np.ndarray) -> float:
    """tr (Σ₁Σ₂)^½ = Σ √λ(RᵀΣ₂R) for any R with Σ₁ = RRᵀ: a symmetric eigenvalue problem, several times faster than a general one."""
    factor = _factor(first)
    product = factor.T @ second @ factor
    eigenvalues = scipy.linalg.eigvalsh((product + product.T) / 2, overwrite_a=True, check_finite=False)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def _factor(covariance: np.ndarray) -> np.ndarray:
    """R with Σ = RRᵀ, also where Σ is singular."""
    try:
        factor: np.ndarray = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(values.clip(min=0))
    return factor


def frechet_curve(
    generated: Float[Tensor, "n d"], real: Moments, points: int = INFINITY_POINTS
) -> tuple[tuple[int, float], ...]:
    """Fréchet distances of the first m of the generated images, shuffled, for up to `points` sizes m in equal steps up to all of them.

    The smallest is a tenth of all, but twice the width of the features if half of all is that many: with fewer images than that the
    bias is not yet proportional to 1/m. The sets are nested, so that all of them take one pass.

    Returns:
        (m, distance) with m rising, the last that of all images.

    Raises:
        ValueError: if there are fewer than two images, or features that are not finite or of another width.
    """
    _require("a Fréchet distance", generated, 2)
    _same_width("features", generated, real.mean[None])
    count, width = generated.shape
    least = max(2, count // 10, min(2 * width, count // 2))
    sizes = np.unique(np.linspace(least, count, points).round().astype(int)).tolist()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(RANDOM_SEED))
    centre = generated.double().mean(0)  # sums of squares about it do not cancel
    total, squares = torch.zeros(width).double(), torch.zeros(width, width).double()
    curve, start = [], 0
    for size in sizes[:-1]:
        part = generated[order[start:size]].double() - centre
        total += part.sum(0)
        squares += part.T @ part
        mean, start = total / size, size
        covariance = (squares - size * torch.outer(mean, mean)) / (size - 1)
        curve.append((size, frechet_distance(Moments(mean + centre, covariance), real)))
    curve.append((count, frechet_distance(Moments.of(generated), real)))
    return tuple(curve)


def extrapolated(curve: Sequence[tuple[int, float]]) -> float:
    """FID∞: the intercept of the least-squares line of distance against 1/N (Chong & Forsyth 2020).

    What it removes is the bias of finitely many generated images; that of the real ones stays. Unlike a distance it may be below 0.

    Raises:
        ValueError: if there are fewer than two sizes.
    """
    if len(curve) < 2:
        raise ValueError(f"extrapolating needs distances at two sizes at least, got {len(curve)}")
    sizes, distances = np.array(curve).T
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)


def inception_score(logits: Float[Tensor, "n k"], splits: int = 10) -> float:
    """exp E KL(p(y|x) ‖ p(y)), between 1 and K effective classes: mean over `splits` parts (Salimans et al. 2016).

    Raises:
        ValueError: if there are fewer images than parts, or logits that are not finite.
    """
    if splits < 1:
        raise ValueError(f"the Inception Score needs at least one split, got {splits}")
    _require(f"the Inception Score in {splits} splits", logits, splits)
    value: float = isc_features_to_metric(logits, splits=splits, rng_seed=RANDOM_SEED)["inception_score_mean"]
    return value


def kernel_distance(
    generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"], subsets: int = 10, subset_size: int = 1000
) -> float:
    """Unbiased squared MMD with the kernel (x·y/D + 1)³, mean over random subsets (Bińkowski et al. 2018).

    Unscaled: papers often print 1000 times this. Unbiased, so it is around 0, also below, for equal laws.

    Raises:
        ValueError: if there are fewer images than a subset has, fewer than two in a subset, or unequal widths.
    """
    if subsets < 1 or subset_size < 2:
        raise ValueError(f"KID needs at least one subset of at least 2 images, got {subsets} of {subset_size}")
    _same_width("features", generated, real)
    for embedding in (generated, real):
        _require(f"KID with subsets of {subset_size}", embedding, subset_size)
    value: float = kid_features_to_metric(
        generated.double(),
        real.double(),
        kid_subsets=subsets,
        kid_subset_size=subset_size,
        rng_seed=RANDOM_SEED,
        verbose=False,
    )["kernel_inception_distance_mean"]
    return value


def precision_recall(
    generated: Float[Tensor, "n d"], real: Float[Tensor, "m d"], real_radii: Float[Tensor, " m"] | None = None
) -> tuple[float, float]:
    """Shares of generated images in the balls of the real ones, and of real in those of the generated.

    A ball reaches to its centre's 3rd nearest neighbour of the same set (Kynkäänniemi et al. 2019). As torch-fidelity has it, but a
    few rows of the matrix of distances at a time: that of 50,000 images would take 10 GB. `real_radii` are those of the real
    images, where they are known.

    Raises:
        ValueError: if a set has fewer than four images, or features that do not match.
    """
    _same_width("features", generated, real)
    for embedding in (generated, real):
        _require(f"precision and recall with {NEIGHBOURS} neighbours", embedding, NEIGHBOURS + 1)
    real_radii = ball_radii(real) if real_radii is None else real_radii
    precision = _share_within(generated, real, real_radii)
    return precision, _share_within(real, generated, ball_radii(generated))


def ball_radii(embedding: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """Distances to the 3rd nearest neighbour of the same set, in feature units.

    Raises:
        ValueError: if there are fewer than four.
    """
    _require(f"a ball of {NEIGHBOURS} neighbours", embedding, NEIGHBOURS + 1)
    return torch.cat(
        [
            torch.cdist(rows, embedding).topk(NEIGHBOURS + 1, largest=False).values[:, -1]
            for rows in torch.split(embedding, _ROWS)
        ]
    )


def _share_within(points: Float[Tensor, "n d"], centres: Float[Tensor, "m d"], radii: Float[Tensor, " m"]) -> float:
    within = torch.cat([(torch.cdist(rows, centres) <= radii).any(1) for rows in torch.split(points, _ROWS)])
    return within.float().mean().item()


def class_coverage(generated: Float[Tensor, "n k"], real: Float[Tensor, "m k"]) -> Coverage:
    """How many predicted classes of the real images have at least a fifth of their share among the generated ones.

    With Inception, whose 1008 classes are not the dataset's, rare predictions make this coarse: an alarm only.

    Raises:
        ValueError: if a set is empty, logits are not finite, or of different numbers of classes.
    """
    _same_width("logits", generated, real)
    for logits in (generated, real):
        _require("the coverage of classes", logits, 1)
    n_classes = real.shape[1]
    counts, expected = (torch.bincount(logits.argmax(1), minlength=n_classes) for logits in (generated, real))
    enough = 5 * counts * len(real) >= expected * len(generated)  # shares, in integers
    present = expected > 0
    return Coverage(int((enough & present).sum()), int(present.sum()))


def collapsed(generated: Features, real: Features) -> bool:
    """Whether the generated images cover fewer than half of the classes of the real ones."""
    return class_coverage(generated.logits, real.logits).collapsed


def _require(what: str, features: Tensor, least: int) -> None:
    if len(features) < least:
        raise ValueError(
            f"{what} needs at least {least} image{'s' if least > 1 else ''} in each set, got {len(features)}"
        )
    if not torch.isfinite(features).all():
        raise ValueError(f"{what} needs finite features; some are NaN or infinite")


def _same_width(what: str, first: Tensor, second: Tensor) -> None:
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"{what} of width {first.shape[1]} and {second.shape[1]} come from different extractors")
