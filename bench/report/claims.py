"""Findings about claims as a reader sees them: on the terminal, and as the verdict at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, get_args

from bench import claims
from bench.report.blocks import Answer, Finding, Verdict
from bench.report.text import arrow, direction, estimate_text, number, readout_name, readout_text
from bench.results.sources import Source

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["claims_block", "print_findings", "readout_words"]


def claims_block(findings: Sequence[claims.Finding], *, everything: bool = False) -> Verdict:
    """Return what runs say about claims, a finding per claim; those that were not run are one point, unless `everything` is wanted."""
    judged = [finding for finding in findings if everything or finding.verdict != "not run"]
    said = []
    for claim in dict.fromkeys(finding.claim for finding in judged):
        own = [finding for finding in judged if finding.claim == claim]
        runs = _compact_runs(dict.fromkeys(run for finding in own for run in finding.runs))
        said.append(Finding(claim.sentence, claim.id, [*map(_answer, own)], [("runs", runs)] if runs else []))
    missing = dict.fromkeys(f"{each.claim.id} ({each.reason})" for each in findings if each not in judged)
    counts = Counter(finding.verdict for finding in findings)
    tested = sum(finding.p_value is not None for finding in findings)
    return Verdict(
        "The paper's claims",
        "What do these runs say about the paper's claims?",
        [", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(claims.Verdict)) + "."],
        said,
        [f"Not run: {'; '.join(missing)}."] if missing else [],
        "A verdict is where a 95 % Student-t interval lies, each taken by itself, over shared seeds at the longest chain. p is corrected "
        f"by Holm's method for the {tested} interval{'s' * (tested != 1)} read here together; verdicts in bold survive the correction, "
        "others may be chance.",
    )


def print_findings(findings: Sequence[claims.Finding], console: Console) -> None:
    """Print the same on a terminal. Names and reasons are text, never markup."""
    from bench.report.terminal import print_block

    print_block(claims_block(findings, everything=True), console, soft_wrap=True)


def readout_words(readout: Source) -> str:
    """Return a model with its readout, such as "gebm ula β=1 (model), step 0.01, 300 steps"."""
    return f"{readout.label} {readout_text(readout)}"


def _answer(finding: claims.Finding) -> Answer:
    place = f"on {finding.suite} ({finding.profile}), {finding.dataset}" if finding.suite else ""
    subject = "; ".join(filter(None, (place, _sides(finding))))
    estimate, claim = finding.estimate, finding.claim
    if estimate is None:
        return Answer(finding.verdict, subject, detail=finding.reason, firm=finding.holds_among_all)
    text = f"{arrow(finding.metric)} {estimate_text(estimate)}"
    text += " per tenfold length" * (claim.rule == "trend")
    text += f" (margin {claim.margin:g})" if claim.margin is not None else ""
    grounds = [f"n = {estimate.n}", f"{finding.dropped} unpaired" if finding.dropped else ""]
    if finding.p_value is not None:
        grounds.append(f"p {number(finding.p_value)}, after Holm {number(finding.p_holm)}")
    if finding.together is not None and finding.together.ci_low is not None:
        grounds.append(f"with all others {estimate_text(finding.together)}")
    detail = "; ".join(filter(None, (", ".join(filter(None, grounds)), finding.reason)))
    effect = -estimate if direction(finding.metric) < 0 else estimate
    return Answer(finding.verdict, subject, text, detail, effect, finding.metric, finding.holds_among_all)


def _sides(finding: claims.Finding) -> str:
    """Return what was compared with what."""
    treatment, reference = finding.treatment, finding.reference
    if treatment is None:
        return ""
    if finding.claim.rule == "trend":
        return f"{treatment.label} {readout_name(treatment.sampler, treatment.beta)}, over its lengths"
    if reference is not None:
        own = reference.label == treatment.label and reference.sampler == "base"
        return f"{readout_words(treatment)} − {'its own base' if own else readout_words(reference)}"
    value = finding.claim.reference.value if finding.claim.reference else None
    return readout_words(treatment) + (f" against {value:g}" if value is not None else "")


def _compact_runs(runs: Iterable[str]) -> str:
    """Return run ids with the seeds of one identity together, as a shell would expand them: digits/gebm/9be8dc29fd1a-s{0,1}."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        stem, dash, seed = run.rpartition("-s")
        seeds.setdefault(stem + dash, []).append(seed)
    return ", ".join(
        stem + (found[0] if len(found) == 1 else f"{{{','.join(found)}}}") for stem, found in seeds.items()
    )
