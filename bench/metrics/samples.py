"""The metrics of generated images, one registered function each, by torch-fidelity where it has them."""

from __future__ import annotations

import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from bench.metrics.frechet import extrapolated
from bench.metrics.scores import ISC_SPLITS, KID_SUBSETS, RANDOM_SEED, FeatureSets, ball_radii, share_within
from gebm.components import component

__all__ = ["class_shift", "classes", "frechet", "frechet_infinity", "inception_score", "kid", "precision", "recall"]


@component("metrics", "fd", "Fréchet distance in an extractor's features", direction="lower", unit="feature units²")
@component("metrics", "fid", "Fréchet distance of Inception's features", direction="lower", unit="feature units²")
def frechet(sets: FeatureSets) -> float:
    """Return the Fréchet distance of all generated images (Heusel et al. 2017)."""
    return sets.curve[-1][1]


@component("metrics", "fd-infinity", "FD extrapolated to infinite samples", direction="lower", unit="feature units²")
@component("metrics", "fid-infinity", "FID extrapolated to infinite samples", direction="lower", unit="feature units²")
def frechet_infinity(sets: FeatureSets) -> float:
    """Return the distance that the curve of Fréchet distances extrapolates to."""
    return extrapolated(sets.curve)


@component("metrics", "is", "Inception Score, exp I(image; class)", direction="higher", unit="effective classes")
def inception_score(sets: FeatureSets) -> float:
    """Return exp E KL(p(y|x) ‖ p(y)), between 1 and K effective classes: the mean over 10 splits (Salimans et al. 2016)."""
    found = isc_features_to_metric(sets.generated.logits, splits=ISC_SPLITS, rng_seed=RANDOM_SEED)
    return float(found["inception_score_mean"])


@component("metrics", "kid", "Kernel distance: unbiased squared MMD, not ×1000", direction="lower", unit="kernel units")
def kid(sets: FeatureSets) -> float:
    """Return the squared MMD with the kernel (x·y/D + 1)³, the mean over random subsets (Bińkowski et al. 2018).

    Unscaled: papers often print 1000 times this. Unbiased, so it scatters around 0 for equal laws.
    """
    found = kid_features_to_metric(
        sets.generated.embedding.double(),
        sets.real.embedding.double(),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=sets.kid_subset_size,
        rng_seed=RANDOM_SEED,
        verbose=False,
    )
    return float(found["kernel_inception_distance_mean"])


@component("metrics", "precision", "Generated images in the real ones' manifold", direction="higher", unit="fraction")
def precision(sets: FeatureSets) -> float:
    """Return the share of generated images in the nearest-neighbour balls of the real ones (Kynkäänniemi et al. 2019)."""
    generated, real = sets.embeddings_on_device()
    return share_within(generated, real, sets.reference.radii.to(real.device))


@component("metrics", "recall", "Real images in the generated ones' manifold", direction="higher", unit="fraction")
def recall(sets: FeatureSets) -> float:
    """Return the share of real images in the nearest-neighbour balls of the generated ones (Kynkäänniemi et al. 2019)."""
    generated, real = sets.embeddings_on_device()
    return share_within(real, generated, ball_radii(generated))


@component("metrics", "classes", "Real classes that generated images cover", direction="higher", unit="classes")
def classes(sets: FeatureSets) -> float:
    """Return the number of classes covered, as `FeatureSets.coverage` counts them."""
    return float(sets.coverage[0])


@component(
    "metrics", "class-shift", "Generated images in another class than real ones", direction="lower", unit="fraction"
)
def class_shift(sets: FeatureSets) -> float:
    """Return the total variation distance between the shares of predicted classes, generated and real: what share of the generated images
    would have to change its class. Equal laws give about √(K/2πn) for K even classes and n generated images, 0.04 for 10 and 1,000.
    """
    shares = [
        torch.bincount(each.logits.argmax(1), minlength=each.logits.shape[1]).double() / len(each)
        for each in (sets.generated, sets.real)
    ]
    return 0.5 * float((shares[0] - shares[1]).abs().sum())
