"""What can be measured: a catalogue of names, units and directions, importable without torch.

The work is done in the submodules, imported when it is needed: `keys` (what a score depends on; light), `extractors`
and `classifier` (images to features), `scores` (features to numbers), `sealed` (tensors on disk). `likelihood-gain` and
`ess-fraction` are listed here and computed where the model and its samplers live.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = ["INCEPTION", "METRICS", "Metric", "base_name", "metric", "qualified_name"]

INCEPTION = "inception-v3-compat"
"""The one extractor whose Fréchet distance is called FID."""


@dataclass(frozen=True)
class Metric:
    """A line of the catalogue: `direction` says which way is better."""

    name: str
    summary: str
    direction: Literal["lower", "higher"]
    unit: str


METRICS: Mapping[str, Metric] = {
    entry.name: entry
    for entry in (
        Metric("fid", "Fréchet distance of Inception features (Heusel et al. 2017)", "lower", "feature units²"),
        Metric(
            "fd", "Fréchet distance in the features of the extractor that it is named after", "lower", "feature units²"
        ),
        Metric(
            "is", "Inception Score, exp of the mutual information of image and class", "higher", "effective classes"
        ),
        Metric("kid", "Kernel distance, unbiased squared MMD, unscaled (not ×1000)", "lower", "kernel units"),
        Metric("precision", "Share of generated images within the manifold of the real ones", "higher", "fraction"),
        Metric("recall", "Share of real images within the manifold of the generated ones", "higher", "fraction"),
        Metric("classes", "Classes of the real images that the generated ones cover", "higher", "classes"),
        Metric("likelihood-gain", "L(E) = −E_P[E] − A on held-out data, the gain over the base", "higher", "nats"),
        Metric(
            "ess-fraction", "Effective sample size of the importance weights over their number", "higher", "fraction"
        ),
    )
}


def qualified_name(name: str, extractor: str) -> str:
    """The name a score is reported under: plain with Inception, else `name[extractor]`, where "fid" becomes "fd".

    Example:
        >>> qualified_name("fid", "digits-cnn"), qualified_name("fid", "inception-v3-compat")
        ('fd[digits-cnn]', 'fid')
    """
    if extractor == INCEPTION:
        return "fid" if name == "fd" else name
    return f"{'fd' if name == 'fid' else name}[{extractor}]"


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
