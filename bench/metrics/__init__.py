"""What can be measured: a catalogue of names, units and directions, importable without torch.

The work is done in the submodules, imported when it is needed: `keys` (what a score depends on; light), `extractors`
and `classifier` (images to features), `scores` (features to numbers), `sealed` (tensors on disk). `likelihood-gain` and
`ess-fraction` are listed here and computed where the model and its samplers live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "INCEPTION",
    "INCEPTION_FILES",
    "INCEPTION_SHA256",
    "METRICS",
    "Metric",
    "base_name",
    "metric",
    "qualified_name",
]

INCEPTION = "inception-v3-compat"
"""The one extractor whose Fréchet distance is called FID."""

INCEPTION_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""Names under which its weights are published: by torch-fidelity and by pytorch-fid, the same content."""

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


@dataclass(frozen=True)
class Metric:
    """A line of the catalogue: `direction` says which way is better, `about` what is judged: images, the learned density, or the
    chains that sample it.
    """

    name: str
    summary: str
    direction: Literal["lower", "higher", "neither"]
    unit: str
    about: Literal["samples", "density", "chains"] = "samples"


METRICS: Mapping[str, Metric] = {
    entry.name: entry
    for entry in (
        Metric("fid", "Fréchet distance of Inception features (Heusel et al. 2017)", "lower", "feature units²"),
        Metric(
            "fd", "Fréchet distance in the features of the extractor that it is named after", "lower", "feature units²"
        ),
        Metric(
            "fid-infinity",
            "FID extrapolated to infinitely many generated images (Chong & Forsyth 2020)",
            "lower",
            "feature units²",
        ),
        Metric("fd-infinity", "The same of the Fréchet distance in an extractor's features", "lower", "feature units²"),
        Metric(
            "is", "Inception Score, exp of the mutual information of image and class", "higher", "effective classes"
        ),
        Metric("kid", "Kernel distance, unbiased squared MMD, unscaled (not ×1000)", "lower", "kernel units"),
        Metric("precision", "Share of generated images within the manifold of the real ones", "higher", "fraction"),
        Metric("recall", "Share of real images within the manifold of the generated ones", "higher", "fraction"),
        Metric("classes", "Classes of the real images that the generated ones cover", "higher", "classes"),
        Metric("log-likelihood", "Mean log-likelihood of held-out rows, of a GEBM LL_IS", "higher", "nats", "density"),
        Metric("log-likelihood-lower", "LL_c, the lower end of a GEBM's bracket", "higher", "nats", "density"),
        Metric("base-log-likelihood", "The same of the base alone, exact", "higher", "nats", "density"),
        Metric(
            "gap-to-truth", "Mean log p − log q on held-out rows, where p is known: KL(p‖q)", "lower", "nats", "density"
        ),
        Metric(
            "likelihood-gain",
            "L(E) = −E_P[E] − A on held-out data, the gain over the base",
            "higher",
            "nats",
            "density",
        ),
        Metric(
            "ess-fraction",
            "Effective sample size of the importance weights over their number",
            "higher",
            "fraction",
            "density",
        ),
        Metric(
            "possible-gain",
            "KL(truth‖base) on the base's support, what an energy could gain",
            "neither",
            "nats",
            "density",
        ),
        Metric(
            "kl-divergence",
            "KL(truth‖learned) on the base's support, what the energy misses of it",
            "lower",
            "nats",
            "density",
        ),
        Metric(
            "total-variation",
            "Between learned density and truth, on the base's support",
            "lower",
            "fraction",
            "density",
        ),
        Metric(
            "log-partition-error", "|log Ẑ − log Z|, importance sampling against quadrature", "lower", "nats", "density"
        ),
        Metric(
            "pareto-k", "Tail shape of the importance weights behind the reference; below 0.7", "lower", "", "chains"
        ),
        Metric(
            "sliced-wasserstein",
            "Mean 1-Wasserstein distance of projections, samples to truth",
            "lower",
            "data units",
            "chains",
        ),
        Metric(
            "mean-error", "|mean along the chains − truth|; of z: root mean square", "lower", "true std. dev.", "chains"
        ),
        Metric(
            "variance-error",
            "|variance along the chains / truth − 1|; of z: root mean square",
            "lower",
            "fraction",
            "chains",
        ),
        Metric(
            "rhat", "Largest rank-normalised split R-hat of E and all coordinates; below 1.01", "lower", "", "chains"
        ),
        Metric(
            "ess-per-cost",
            "Bulk ESS per gradient evaluation; of z: the worst coordinate",
            "higher",
            "1/gradient",
            "chains",
        ),
        Metric("ess-per-second", "Bulk ESS per second of sampling, warm-up left out", "higher", "1/s", "chains"),
        Metric("acceptance", "Mean acceptance after warm-up", "neither", "probability", "chains"),
        Metric("step-size", "Step size after warm-up, where it was tuned", "neither", "latent units", "chains"),
    )
}


def qualified_name(name: str, extractor: str) -> str:
    """The name a score is reported under: plain with Inception, else `name[extractor]`, where "fid…" becomes "fd…".

    Example:
        >>> qualified_name("fid", "digits-cnn"), qualified_name("fid", "inception-v3-compat")
        ('fd[digits-cnn]', 'fid')
    """
    if extractor == INCEPTION:
        return {"fd": "fid", "fd-infinity": "fid-infinity"}.get(name, name)
    return f"{ {'fid': 'fd', 'fid-infinity': 'fd-infinity'}.get(name, name) }[{extractor}]"


def base_name(name: str) -> str:
    """The catalogue's part of a reported name: "kid[digits-cnn]" is a "kid"."""
    return name.partition("[")[0]


def metric(name: str) -> Metric:
    """The catalogue's line for a plain or qualified name.

    Raises:
        KeyError: if the catalogue has no such metric; the message names the nearest.
    """
    try:
        return METRICS[base_name(name)]
    except KeyError:
        from difflib import get_close_matches

        near = get_close_matches(base_name(name), METRICS, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(METRICS)}"
        raise KeyError(f"no metric '{name}'{hint}") from None
