"""Findings about claims as a reader sees them: on the terminal, and as the table at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from bench.claims import Finding, Verdict, judge, load_claims
from bench.report.comparisons import Readout
from bench.report.text import PAPER_BETA, arrow, escape, estimate_text, number, table
from bench.stats import Estimate

if TYPE_CHECKING:
    from rich.console import Console

    from bench.report.chapters import Chapter

__all__ = [
    "CLAIMS_QUESTION",
    "claims_table",
    "compact_runs",
    "comparison",
    "findings_of",
    "footnote",
    "place",
    "print_findings",
    "summary",
]

CLAIMS_QUESTION = "What do these runs say about the paper's claims?"
_STYLES: dict[Verdict, str] = {
    "supported": "green",
    "contradicted": "red",
    "inconclusive": "yellow",
    "not run": "dim",
}


def findings_of(chapters: Iterable[Chapter]) -> list[Finding]:
    """What the chapters say about the claims that ship with the harness and those of installed packages.

    Raises:
        ClaimError: if an installed package's claims cannot be read.
    """
    return judge([chapter.section for chapter in chapters], load_claims())


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Claim by claim: the sentence, then a block for each dataset, target and rival. Names and reasons are text, never markup."""
    for claim in dict.fromkeys(finding.claim for finding in findings):
        own = [finding for finding in findings if finding.claim == claim]
        console.print(Text(f"{claim.id}: {claim.sentence}", style="bold"), soft_wrap=True)
        for finding in own:
            line = Text("  ")
            weight = " bold" if finding.holds_among_all else ""
            line.append(f"{finding.verdict:<13}", style=_STYLES[finding.verdict] + weight)
            line.append("; ".join(part for part in (place(finding), comparison(finding)) if part))
            console.print(line, soft_wrap=True)
            if finding.estimate is not None:
                console.print(Text(f"    {arrow(finding.metric)}: {effect(finding)}"), soft_wrap=True)
            if finding.reason:
                console.print(Text(f"    {finding.reason}", style="dim"), soft_wrap=True)
            if finding.runs:
                console.print(Text(f"    runs: {', '.join(compact_runs(finding.runs))}", style="dim"), soft_wrap=True)
        console.print()
    console.print(Text(summary(findings)), soft_wrap=True)
    console.print(Text(footnote(findings), style="dim"), soft_wrap=True)


def claims_table(findings: Sequence[Finding]) -> str:
    """The findings as a Markdown table, those that were not run as one sentence; empty where nothing was run."""
    judged = [finding for finding in findings if finding.verdict != "not run"]
    if not judged:
        return ""
    header = ["claim", "on", "verdict", "effect", "n", "p after Holm"]
    lines = [
        [
            escape(finding.claim.sentence),
            escape(f"{place(finding)}; {comparison(finding)}"),
            f"**{finding.verdict}**" if finding.holds_among_all else finding.verdict,
            escape(f"{arrow(finding.metric)}: {estimate_text(finding.estimate)}{_per(finding)}{_note(finding)}"),
            str(finding.estimate.n) if finding.estimate else "—",
            number(finding.p_holm),
        ]
        for finding in judged
    ]
    rest = list(
        dict.fromkeys(f"{finding.claim.id} ({finding.reason})" for finding in findings if finding not in judged)
    )
    parts = [table(header, lines), escape(footnote(findings))]
    return "\n\n".join([*parts, *([f"Not run: {escape('; '.join(rest))}."] if rest else [])])


def summary(findings: Iterable[Finding]) -> str:
    """How many findings there are of each kind."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _STYLES)


def footnote(findings: Sequence[Finding]) -> str:
    """How the verdicts were made."""
    tested = sum(finding.p_value is not None for finding in findings)
    return (
        "A verdict is where a 95 % Student-t interval lies, each for itself, over shared seeds at the longest chain. p is corrected "
        f"by Holm's method for the {tested} interval{'s' * (tested != 1)} read here together; verdicts in bold stand after it, "
        "others may be chance."
    )


def place(finding: Finding) -> str:
    """Where a claim was checked."""
    if not finding.suite:
        return ""
    return f"{finding.suite} ({finding.profile}), {finding.dataset}"


def comparison(finding: Finding) -> str:
    """What was compared with what."""
    if finding.treatment is None:
        return ""
    treatment, reference = finding.treatment, finding.reference
    if finding.claim.rule == "trend":
        return f"{readout_words(treatment, length=False)}, over its lengths"
    if reference is not None:
        own = reference.label == treatment.label and reference.sampler == "base"
        return f"{readout_words(treatment)} − {'its own base' if own else readout_words(reference)}"
    value = finding.claim.reference.value if finding.claim.reference else None
    return readout_words(treatment) + (f" against {value:g}" if value is not None else "")


def readout_words(readout: Readout, *, length: bool = True) -> str:
    """Such as "gebm ula β=1 (model) 300 steps"."""
    meaning = {1.0: " (model)", PAPER_BETA: " (paper)"}.get(readout.beta or 0.0, "") if readout.is_chain else ""
    parts = [
        readout.label,
        "" if readout.sampler == "likelihood" else readout.sampler,
        "" if readout.beta is None else f"β={readout.beta:g}{meaning}",
        f"{readout.steps} steps" if length and readout.steps else "",
    ]
    return " ".join(part for part in parts if part)


def effect(finding: Finding) -> str:
    """The effect with its interval, n and p-values."""
    estimate = finding.estimate or Estimate(0.0, None, None, 0)
    parts = [f"{estimate_text(estimate)}{_per(finding)}{_note(finding)}", f"n = {estimate.n}"]
    if finding.dropped:
        parts.append(f"{finding.dropped} unpaired")
    if finding.p_value is not None:
        parts.append(f"p {number(finding.p_value)}, after Holm {number(finding.p_holm)}")
    if finding.together is not None and finding.together.ci_low is not None:
        parts.append(f"with all others {estimate_text(finding.together)}")
    return ", ".join(parts)


def compact_runs(runs: Iterable[str]) -> list[str]:
    """Run ids with the seeds of one identity together, as a shell would expand them: digits/gebm/9be8dc29fd1a-s{0,1}."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        stem, dash, seed = run.rpartition("-s")
        seeds.setdefault(f"{stem}{dash}" if dash else run, []).extend([seed] if dash else [])
    return [
        stem + (("{" + ",".join(found) + "}") if len(found) > 1 else "".join(found)) for stem, found in seeds.items()
    ]


def _per(finding: Finding) -> str:
    return " for each tenfold length" if finding.claim.rule == "trend" else ""


def _note(finding: Finding) -> str:
    return f" (margin {finding.claim.margin:g})" if finding.claim.margin is not None else ""
