"""Claims: a sentence, the scores that it is about, and the rule by which these support or contradict it.

Claims come from TOML files: those that ship with the harness, those of installed packages, and the user's own. A package names its file
under the entry point group `gebm_bench.claims`: `mine = "my_package:CLAIMS"`, where `CLAIMS` is the file's path.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AllowInfNan, BeforeValidator, Field, ValidationError, model_validator

from bench.components.settings import problems
from bench.core.fields import Frozen
from bench.core.suite import explain
from bench.metrics import metric
from bench.results.sources import CALIBRATED_BETA

__all__ = ["Claim", "ClaimError", "Reference", "Selector", "load_claims"]


class ClaimError(ValueError):
    """Claims that cannot be found or do not say what a claim must say."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


def _known(name: str) -> str:
    try:
        metric(name)
    except KeyError as error:
        raise ValueError(str(error.args[0])) from None
    return name


def _temperature(value: Any) -> Any:
    """Return an inverse temperature; "calibrated" is that of each run."""
    if isinstance(value, float) and math.isinf(value):
        raise ValueError('write "calibrated" for each run\'s own temperature; no other β is infinite')
    return CALIBRATED_BETA if value == "calibrated" else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
Beta = Annotated[float, AllowInfNan(True), Field(ge=0), BeforeValidator(_temperature)]
Betas = Annotated[tuple[Beta, ...], BeforeValidator(_listed), Field(min_length=1)]
MetricName = Annotated[str, AfterValidator(_known)]
MetricNames = Annotated[tuple[MetricName, ...], BeforeValidator(_listed), Field(min_length=1)]
Steps = Literal["longest", "all"] | Annotated[int, Field(ge=0, strict=True)]


class Selector(Frozen):
    """Rows by what was sampled. Names may be patterns such as `gebm*`; the claim is about every match.

    Attributes:
        model: names of models.
        sampler: names of samplers, or of what is no chain: `base`, `data`, `exact`, `likelihood`, `resampled`. Only a
            chain's matches a pattern.
        beta: inverse temperatures, "calibrated" for each run's own, or none for any.
        steps: a length, or the longest that the suite has for this sampler and β, whichever model it is of.
    """

    model: Patterns
    sampler: Patterns = ("*",)
    beta: Betas | None = None
    steps: Steps = "longest"


class Reference(Frozen):
    """What a treatment is compared with: other rows, or a value. Whatever is left out of the rows is as in the treatment."""

    model: Patterns | None = None
    sampler: Patterns | None = None
    beta: Beta | None = None
    steps: Literal["longest"] | Annotated[int, Field(ge=0, strict=True)] = "longest"
    value: float | None = None

    @model_validator(mode="after")
    def _either_rows_or_a_value(self) -> Reference:
        rows = (self.model, self.sampler, self.beta)
        if (self.value is None) == all(part is None for part in rows):
            raise ValueError("a reference names rows (model, sampler or beta) or a value, not both and not neither")
        return self


class Claim(Frozen):
    """One claim.

    On a dataset it is judged as a whole: it is about every readout that its patterns select, in every metric that they match, each against
    its reference. It is supported if it holds for all of them (the largest of their one-sided p-values decides: an intersection–union test,
    Berger 1982) and contradicted if it fails for any (the smallest, times their number). The p-value of both together is corrected
    by Holm's method for all claims and datasets that are read together, so that a report in which nothing is there has a verdict with
    probability 0.05 at most. Fewer than 3 paired seeds decide nothing. Seeds that were refused, diverged or collapsed in the treatment
    count against the claim: it must also hold with them at their worst (`bench.claims.weigh`). Log-likelihoods are compared over seeds and
    test rows.

    Attributes:
        id: a short name, unique among the claims judged together.
        sentence: what is claimed.
        source: where it was claimed.
        suites: names of suites it can be checked in, patterns allowed.
        datasets: likewise of datasets.
        metric: names as in `bench list metrics`; `fd` stands for the Fréchet distance in whatever extractor.
        treatment: the rows that the claim is about.
        reference: what they are compared with; a trend has none.
        rule: `difference`: better than the reference. `margin`: no further from the reference than `margin`. `trend`: better with each
            tenfold longer chain.
        margin: for the rule of that name, in the metric's unit.
        sides: whether a treatment that is better by more than the margin is outside too (`both`) or not (`worse`).
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    sentence: Annotated[str, Field(min_length=1)]
    source: Annotated[str, Field(min_length=1)]
    suites: Patterns
    datasets: Patterns = ("*",)
    metric: MetricNames
    treatment: Selector
    reference: Reference | None = None
    rule: Literal["difference", "margin", "trend"]
    margin: Annotated[float, Field(gt=0)] | None = None
    sides: Literal["both", "worse"] = "both"

    @model_validator(mode="after")
    def _rule_has_what_it_needs(self) -> Claim:
        for name in self.metric:
            if metric(name).direction == "neither":
                raise ValueError(f"no direction of '{name}' is better, so nothing can be claimed of it")
        if (self.rule == "margin") != (self.margin is not None):
            raise ValueError("margin belongs to the rule 'margin', which needs it")
        if self.rule != "margin" and "sides" in self.model_fields_set:
            raise ValueError("sides belongs to the rule 'margin'")
        if (self.rule == "trend") != (self.reference is None):
            trend = "a trend has no reference"
            raise ValueError(trend if self.reference else f"the rule '{self.rule}' needs a reference")
        if self.treatment.steps == "all" and self.rule != "trend":
            raise ValueError("steps = 'all' belongs to the rule 'trend'")
        return self


class _File(Frozen):
    """A file of claims."""

    claim: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_differ(self) -> _File:
        names = [each.id for each in self.claim]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the id '{twice[0]}' is there twice")
        return self


def load_claims(own: Iterable[Path] = ()) -> tuple[Claim, ...]:
    """Read all claims: shipped ones first, then those of installed packages, then the user's own files.

    Raises:
        ClaimError: naming the file, the key and what is allowed, or the entry point that is no path.
    """
    found: dict[str, tuple[Claim, Path]] = {}
    for path in (*sorted(Path(__file__).parent.glob("*.toml")), *_installed(), *own):
        for claim in _read(path):
            if claim.id in found:
                raise ClaimError(f"{path}: the id '{claim.id}' is taken by {found[claim.id][1]}")
            found[claim.id] = (claim, path)
    return tuple(claim for claim, _ in found.values())


def _installed() -> list[Path]:
    files = []
    for point in entry_points(group="gebm_bench.claims"):
        try:
            files.append(Path(point.load()))
        except (ImportError, AttributeError, TypeError) as error:
            raise ClaimError(
                f"entry point '{point.name}' of gebm_bench.claims is no path of a file: {error}"
            ) from error
    return files


def _read(path: Path) -> tuple[Claim, ...]:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
        return _File.model_validate(content).claim
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ClaimError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ClaimError(explain(path, text, problems(error, _File, content))) from error
