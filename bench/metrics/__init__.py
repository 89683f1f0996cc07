"""Names, units and directions of all metrics, without importing torch.

Metrics of images are registered functions of `bench.metrics.scores.FeatureSets` (those here are in `samples`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.components import registry
from bench.inception import INCEPTION

__all__ = ["DEFAULT_METRICS", "METRICS", "Metric", "base_name", "extractor_entry", "metric", "qualified_name"]

DEFAULT_METRICS = ("fid", "fid-infinity", "is", "kid", "precision", "recall", "classes")
"""What images are scored by where a suite does not say."""


@dataclass(frozen=True)
class Metric:
    """A metric, of samples, of the learned density, or of the chains that sample it."""

    name: str
    summary: str  # one line for lists and footnotes
    direction: str = "neither"  # which way is better: "lower", "higher" or "neither"
    unit: str = ""  # of its values; empty for a ratio without a name
    about: str = "samples"  # or "density", or "chains"


_DECLARED = (
    Metric("log-likelihood", "Mean log-likelihood of held-out rows, of a GEBM LL_IS", "higher", "nats", "density"),
    Metric("log-likelihood-lower", "LL_c, the lower end of a GEBM's bracket", "higher", "nats", "density"),
    Metric("base-log-likelihood", "The same of the base alone, exact", "higher", "nats", "density"),
    Metric("gap-to-truth", "KL(p‖q) on held-out rows, where the true p is known", "lower", "nats", "density"),
    Metric("likelihood-gain", "−E_P[E] − A on held-out data, the gain over the base", "higher", "nats", "density"),
    Metric("kl-from-base", "KL(model‖base), the gain on the model's own samples", "neither", "nats", "density"),
    Metric("ess-fraction", "ESS of the importance weights over their number", "higher", "fraction", "density"),
    Metric("possible-gain", "KL(truth‖base) on its support, what an energy could gain", "neither", "nats", "density"),
    Metric("kl-divergence", "KL(truth‖learned) on the base's support, what is missed", "lower", "nats", "density"),
    Metric("total-variation", "Of learned density and truth, on the base's support", "lower", "fraction", "density"),
    Metric("log-partition-error", "|log Ẑ − log Z|, sampled against quadrature", "lower", "nats", "density"),
    Metric("pareto-k", "Tail shape of the importance weights behind the reference; below 0.7", "lower", "", "chains"),
    Metric("sliced-wasserstein", "1-Wasserstein distance to the truth by projections", "lower", "data units", "chains"),
    Metric("mean-error", "|mean along the chains − truth|; of z: RMS", "lower", "true std. dev.", "chains"),
    Metric("variance-error", "|variance along the chains / truth − 1|; of z: RMS", "lower", "fraction", "chains"),
    Metric("rhat", "Largest rank-normalised split R-hat of E and all coordinates; below 1.01", "lower", "", "chains"),
    Metric("ess-per-cost", "Bulk ESS per gradient evaluation; of z: the lowest", "higher", "1/gradient", "chains"),
    Metric("ess-per-second", "Bulk ESS per second of sampling, warm-up left out", "higher", "1/s", "chains"),
    Metric("acceptance", "Mean acceptance after warm-up", "neither", "probability", "chains"),
    Metric("step-size", "Step size after warm-up, where it was tuned", "neither", "latent units", "chains"),
)
"""What readouts of densities and chains compute for themselves."""


class _Catalogue(Mapping[str, Metric]):
    """All metrics by name, those of samples first, read from the registry on every access."""

    def _all(self) -> dict[str, Metric]:
        found = {}
        for name, entry in registry.entries("metrics").items():
            facts = {key: str(value) for key, value in entry.facts.items() if key in ("direction", "unit")}
            found[name] = Metric(name, entry.summary, **facts)
        declared = {each.name: each for each in _DECLARED}
        for name in found.keys() & declared:
            origin = registry.get("metrics", name).origin
            raise registry.PluginError(f"package {origin} registers the metric '{name}', a name the harness has")
        return found | declared

    def __getitem__(self, name: str) -> Metric:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


METRICS: Mapping[str, Metric] = _Catalogue()


def qualified_name(name: str, extractor: str) -> str:
    """Return the name a score is reported under: plain with Inception, else `name[extractor]`, where "fid…" becomes "fd…".

    Example:
        >>> qualified_name("fid", "digits-cnn"), qualified_name("fid", "inception-v3-compat")
        ('fd[digits-cnn]', 'fid')
    """
    if extractor == INCEPTION:
        return {"fd": "fid", "fd-infinity": "fid-infinity"}.get(name, name)
    return f"{ {'fid': 'fd', 'fid-infinity': 'fd-infinity'}.get(name, name) }[{extractor}]"


def base_name(name: str) -> str:
    """Return the registered part of a reported name: "kid[digits-cnn]" is a "kid"."""
    return name.partition("[")[0]


def metric(name: str) -> Metric:
    """Return the metric of a plain or qualified name, or raise a KeyError that names the nearest."""
    if base_name(name) not in METRICS:
        raise KeyError(f"no metric '{name}'; {registry.closest(base_name(name), METRICS)}")
    return METRICS[base_name(name)]


def extractor_entry(name: str) -> registry.Entry:
    """Return the component that makes an extractor (`<dataset>-cnn`, `<dataset>-half-cnn`: in-domain), or raise an UnknownNameError."""
    known = registry.entries("extractors")
    if name.endswith("-cnn") and name not in known:
        return known["in-domain-half" if name.endswith("-half-cnn") else "in-domain"]
    return registry.get("extractors", name)
