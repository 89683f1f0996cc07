"""Findings about claims as a reader sees them: on the terminal, and as the verdict at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench import claims
from bench.report.blocks import Answer, Effect, Finding, Tone, Verdict
from bench.report.text import PAPER_BETA, arrow, direction, estimate_text, number
from bench.results.sources import Source
from bench.stats import Estimate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["claims_block", "effect_of", "print_findings", "readout_words"]

_TONES: dict[claims.Verdict, Tone] = {
    "supported": "good",
    "contradicted": "bad",
    "inconclusive": "open",
    "not run": "plain",
}


def claims_block(findings: Sequence[claims.Finding], *, everything: bool = False) -> Verdict:
    """Return what runs say about claims, a finding per claim; those that were not run are one point, unless `everything` is wanted."""
    judged = [finding for finding in findings if everything or finding.verdict != "not run"]
    said = []
    for claim in dict.fromkeys(finding.claim for finding in judged):
        own = [finding for finding in judged if finding.claim == claim]
        runs = ", ".join(_compact_runs(dict.fromkeys(run for finding in own for run in finding.runs)))
        said.append(Finding(claim.sentence, claim.id, [*map(_answer, own)], [("runs", runs)] if runs else []))
    missing = dict.fromkeys(f"{each.claim.id} ({each.reason})" for each in findings if each not in judged)
    points = [f"Not run: {'; '.join(missing)}."] if missing else []
    question = "What do these runs say about the paper's claims?"
    return Verdict("The paper's claims", question, [f"{_summary(findings)}."], said, points, _footnote(findings))


def print_findings(findings: Sequence[claims.Finding], console: Console) -> None:
    """Print the same on a terminal. Names and reasons are text, never markup."""
    from bench.report.terminal import print_block

    print_block(claims_block(findings, everything=True), console, soft_wrap=True)


def readout_words(readout: Source, *, length: bool = True) -> str:
    """Return a readout such as "gebm ula β=1 (model) 300 steps"."""
    meaning = {1.0: " (model)", PAPER_BETA: " (paper)"}.get(readout.beta or 0.0, "") if readout.is_chain else ""
    parts = [
        readout.label,
        "" if readout.sampler == "likelihood" else readout.sampler,
        "" if readout.beta is None else f"β={readout.beta:g}{meaning}",
        f"{readout.steps} steps" if length and readout.steps else "",
    ]
    return " ".join(part for part in parts if part)


def effect_of(estimate: Estimate, sense: int, unit: str) -> Effect:
    """Return an estimate turned by `sense`, ±1, so that above 0 is better."""
    ends = [None if end is None else sense * end for end in (estimate.ci_low, estimate.ci_high)]
    low, high = ends if sense > 0 else reversed(ends)
    return Effect(sense * estimate.mean, low, high, unit)


def _answer(finding: claims.Finding) -> Answer:
    detail, text, effect = [finding.reason], "", None
    if finding.estimate is not None:
        effect = effect_of(finding.estimate, direction(finding.metric) or 1, finding.metric)
        text = f"{arrow(finding.metric)} {estimate_text(finding.estimate)}{_unit(finding)}"
        counted = [f"n = {finding.estimate.n}", f"{finding.dropped} unpaired" if finding.dropped else ""]
        if finding.p_value is not None:
            counted.append(f"p {number(finding.p_value)}, after Holm {number(finding.p_holm)}")
        if finding.together is not None and finding.together.ci_low is not None:
            counted.append(f"with all others {estimate_text(finding.together)}")
        detail.insert(0, ", ".join(filter(None, counted)))
    tone = _TONES[finding.verdict]
    said = "; ".join(filter(None, detail))
    return Answer(_subject(finding), finding.verdict, tone, text, said, effect, finding.holds_among_all)


def _summary(findings: Iterable[claims.Finding]) -> str:
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _TONES)


def _footnote(findings: Sequence[claims.Finding]) -> str:
    tested = sum(finding.p_value is not None for finding in findings)
    return (
        "A verdict is where a 95 % Student-t interval lies, each taken by itself, over shared seeds at the longest chain. p is corrected "
        f"by Holm's method for the {tested} interval{'s' * (tested != 1)} read here together; verdicts in bold survive the correction, "
        "others may be chance."
    )


def _subject(finding: claims.Finding) -> str:
    """Return where a claim was checked, and what was compared with what."""
    place = f"{finding.suite} ({finding.profile}), {finding.dataset}" if finding.suite else ""
    return "; ".join(filter(None, (place, _comparison(finding))))


def _comparison(finding: claims.Finding) -> str:
    treatment, reference = finding.treatment, finding.reference
    if treatment is None:
        return ""
    if finding.claim.rule == "trend":
        return f"{readout_words(treatment, length=False)}, over its lengths"
    if reference is not None:
        own = reference.label == treatment.label and reference.sampler == "base"
        return f"{readout_words(treatment)} − {'its own base' if own else readout_words(reference)}"
    value = finding.claim.reference.value if finding.claim.reference else None
    return readout_words(treatment) + (f" against {value:g}" if value is not None else "")


def _unit(finding: claims.Finding) -> str:
    per = " per tenfold length" if finding.claim.rule == "trend" else ""
    return per + (f" (margin {finding.claim.margin:g})" if finding.claim.margin is not None else "")


def _compact_runs(runs: Iterable[str]) -> list[str]:
    """Return run ids with the seeds of one identity together, as a shell would expand them: digits/gebm/9be8dc29fd1a-s{0,1}."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        stem, dash, seed = run.rpartition("-s")
        seeds.setdefault(f"{stem}{dash}" if dash else run, []).extend([seed] if dash else [])
    return [
        stem + (("{" + ",".join(found) + "}") if len(found) > 1 else "".join(found)) for stem, found in seeds.items()
    ]
