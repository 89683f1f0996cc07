"""Numbers and names as the report writes them: three significant digits, one wording per meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from bench.metrics import METRICS, base_name
from bench.results.sources import CALIBRATED_BETA
from bench.stats import Estimate

__all__ = [
    "PAPER_BETA",
    "about_density",
    "arrow",
    "beta_name",
    "beta_note",
    "changes_text",
    "direction",
    "estimate_text",
    "interval_text",
    "listed",
    "metric_order",
    "number",
    "readout_name",
    "readout_text",
    "setting_text",
    "short_count",
    "short_names",
    "shortened_note",
    "span",
]

PAPER_BETA = 100.0
"""The energy multiplier of the paper's image samples."""


def number(value: float | None, like: float | None = None) -> str:
    """Return a value to three significant digits, or with as many decimals as `like` would have; "—" for a missing one."""
    if value is None:
        return "—"
    scale = abs(value if like is None else like)
    if scale and not 1e-4 <= scale < 1e7:
        return f"{value:.2e}".replace("-", "−")
    decimals = max(0, 2 - math.floor(math.log10(scale))) if scale else 2
    text = f"{value:,.{decimals}f}"
    return text.replace("-", "−") if float(text.replace(",", "")) else text.lstrip("-")


def interval_text(mean: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    """Return a mean and its interval with equal decimals, ("12.1", "[10.3, 14.0]"); the interval may be empty."""
    if mean is None or low is None or high is None:
        return number(mean), ""
    like = max(abs(mean), (high - low) / 2)
    return number(mean, like), f"[{number(low, like)}, {number(high, like)}]"


def estimate_text(estimate: Estimate | None) -> str:
    """Return the same of an estimate in one piece, "12.1 [10.3, 14.0]"."""
    if estimate is None:
        return "—"
    return " ".join(interval_text(estimate.mean, estimate.ci_low, estimate.ci_high)).strip()


def short_count(value: float) -> str:
    """Return a large count with three digits: 1.23 M."""
    for limit, suffix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def setting_text(value: Any) -> str:
    """Return a setting, a group of them in one line."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} {f'({setting_text(own)})' if isinstance(own, Mapping) else own}" for name, own in value.items()
        )
    return "none" if value is None else str(value)


def changes_text(changes: Mapping[str, Any]) -> str:
    """Return settings by dotted keys as `refit.steps = 30, refit.penalty = 1`."""
    return ", ".join(f"{key} = {setting_text(value)}" for key, value in changes.items())


def span(values: Sequence[int], word: str = "–") -> str:
    """Return the least and the greatest of some counts, once where they agree; "—" for none."""
    ends = dict.fromkeys((min(values), max(values))) if values else ()
    return word.join(f"{value:,}" for value in ends) or "—"


def listed(words: Sequence[str]) -> str:
    """Return words in a row: "a", "a and b", "a, b and c"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


@cache
def direction(name: str) -> int:
    """Return +1 where higher is better, −1 where lower is, 0 where neither is or the metric is unknown."""
    known = METRICS.get(base_name(name))
    return {"higher": 1, "lower": -1}.get(known.direction, 0) if known else 0


@cache
def about_density(name: str) -> bool:
    """Return whether a metric is about the trained density, so that it belongs to β=1 and to no samples."""
    known = METRICS.get(base_name(name))
    return known is not None and known.about == "density"


@cache
def metric_order(name: str) -> tuple[int, str]:
    """Return what sorts metrics as the catalogue lists them (Fréchet distance first), unknown ones last."""
    names = list(METRICS)
    base = base_name(name)
    return (names.index(base) if base in names else len(names), name)


def arrow(name: str) -> str:
    """Return the metric's name with the better direction: "fd[digits-cnn] ↓"."""
    return f"{name} {('↓', '', '↑')[direction(name) + 1]}".rstrip()


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Return names for the headings of one table: where all share an extractor, only the first still names it.

    Example:
        >>> short_names(["fd[digits-cnn]", "is[digits-cnn]", "likelihood-gain"])
        {'fd[digits-cnn]': 'fd[digits-cnn]', 'is[digits-cnn]': 'is', 'likelihood-gain': 'likelihood-gain'}
    """
    qualified = [name for name in names if base_name(name) != name]
    samples = [name for name in names if not about_density(name)]
    if qualified != samples or len({name.partition("[")[2] for name in qualified}) != 1:
        return {name: name for name in names}
    return {name: base_name(name) if name in qualified[1:] else name for name in names}


def shortened_note(names: Sequence[str]) -> str:
    """Return what `short_names` left out, as a sentence; empty where it left out nothing."""
    short = [base_name(name) for name, shown in short_names(names).items() if shown != name]
    extractor = next((name for name in names if "[" in name), "").partition("[")[2].rstrip("]")
    return f"{listed(short)} also use{'s' * (len(short) == 1)} the features of {extractor}." if short else ""


def beta_name(beta: float) -> str:
    """Return the short name of a temperature: the model's own, the paper's, each run's calibrated one, or none of these."""
    if beta == CALIBRATED_BETA:
        return "β̂ (calibrated)"
    return f"β={beta:g}" + {1.0: " (model)", PAPER_BETA: " (paper)"}.get(beta, "")


def beta_note(beta: float) -> str:
    """Return the full name, which tells the reader of β ≠ 1 that this is not the trained density."""
    if beta == CALIBRATED_BETA:
        return f"{beta_name(beta)}: each run at the β of its highest likelihood on the validation split"
    colder = "" if beta == 1.0 else f": a {'colder' if beta > 1 else 'hotter'} target than the trained density"
    return beta_name(beta) + colder + (", the paper's protocol" if beta == PAPER_BETA else "")


def readout_name(sampler: str | None, beta: float | None) -> str:
    """Return what was sampled, in words: "base alone", "ula β=1 (model)"."""
    name = {None: "—", "base": "base alone", "data": "real data, held out"}.get(sampler, sampler) or ""
    return name if beta is None or name != sampler else f"{name} {beta_name(beta)}"


def readout_text(row: Any) -> str:
    """Return a readout by its name, a chain also by its step size and length."""
    name = readout_name(row.sampler, row.beta)
    step = f", step {row.step_size:g}" if row.step_size else ""
    return f"{name}{step}, {row.steps:,} steps" if row.steps else name
