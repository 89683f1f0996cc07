"""Judged claims as a reader sees them: on the terminal, and as the verdict at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import get_args

from bench.claims import Judgement, Outcome
from bench.report.blocks import Answer, Finding, Verdict
from bench.report.text import arrow, direction, estimate_text, number, readout_name, readout_text
from bench.results.sources import Source

__all__ = ["claims_block", "readout_words"]


def claims_block(judged: Sequence[Judgement], *, everything: bool = False) -> Verdict:
    """Return what runs say about claims, a finding per claim; those that were not run are one point, unless `everything` is wanted."""
    shown = [each for each in judged if everything or each.verdict != "not run"]
    findings = []
    for claim in dict.fromkeys(each.claim for each in shown):
        own = [each for each in shown if each.claim == claim]
        runs = _compact_runs(dict.fromkeys(run for each in own for run in each.runs))
        facts = [("runs", runs)] if runs else []
        findings.append(Finding(f"{claim.id}: {claim.sentence}", answers=[*map(_answer, own)], facts=facts))
    missing = dict.fromkeys(f"{each.claim.id} ({each.reason})" for each in judged if each not in shown)
    counts = Counter(each.verdict for each in judged)
    tested = sum(each.p_value is not None for each in judged)
    return Verdict(
        "Claims",
        "What do these runs say about the claims of the paper and of this benchmark?",
        [", ".join(f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome)) + "."],
        findings,
        [f"Not run: {'; '.join(missing)}."] if missing else [],
        "A verdict is where a 95 % Student-t interval lies, each taken by itself, over shared seeds at the longest chain. p is corrected "
        f"by Holm's method for the {tested} interval{'s' * (tested != 1)} read here together; verdicts in bold survive the correction, "
        "others may be chance.",
    )


def readout_words(readout: Source) -> str:
    """Return a model with its readout, such as "gebm ula β=1 (model), step 0.01, 300 steps"."""
    return f"{readout.label} {readout_text(readout)}"


def _answer(judged: Judgement) -> Answer:
    place = f"on {judged.suite} ({judged.profile}), {judged.dataset}" if judged.suite else ""
    subject = "; ".join(filter(None, (place, _sides(judged))))
    estimate, claim = judged.estimate, judged.claim
    holds = judged.p_holm is not None and judged.p_holm <= 0.05
    if estimate is None:
        return Answer(judged.verdict, subject, detail=judged.reason, firm=holds)
    text = f"{arrow(judged.metric)} {estimate_text(estimate)}"
    text += " per tenfold length" * (claim.rule == "trend")
    text += f" (margin {claim.margin:g})" if claim.margin is not None else ""
    grounds = [f"n = {estimate.n}", f"{judged.dropped} unpaired" if judged.dropped else ""]
    if judged.p_value is not None:
        grounds.append(f"p {number(judged.p_value)}, after Holm {number(judged.p_holm)}")
    if judged.together is not None and judged.together.ci_low is not None:
        grounds.append(f"with all others {estimate_text(judged.together)}")
    detail = "; ".join(filter(None, (", ".join(filter(None, grounds)), judged.reason)))
    effect = -estimate if direction(judged.metric) < 0 else estimate
    return Answer(judged.verdict, subject, text, detail, effect, judged.metric, holds)


def _sides(judged: Judgement) -> str:
    """Return what was compared with what."""
    treatment, reference, claim = judged.treatment, judged.reference, judged.claim
    if treatment is None:
        return ""
    if claim.rule == "trend":
        return f"{treatment.label} {readout_name(treatment.sampler, treatment.beta)}, over its lengths"
    if reference is not None:
        own = reference.label == treatment.label and reference.sampler == "base"
        return f"{readout_words(treatment)} − {'its own base' if own else readout_words(reference)}"
    value = claim.reference.value if claim.reference else None
    return readout_words(treatment) + (f" against {value:g}" if value is not None else "")


def _compact_runs(runs: Iterable[str]) -> str:
    """Return run ids with the seeds of one identity together, as a shell would expand them: digits/gebm/9be8dc29fd1a-s{0,1}."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        stem, dash, seed = run.rpartition("-s")
        seeds.setdefault(stem + dash if dash else run, []).append(seed if dash else "")
    return ", ".join(
        stem + (found[0] if len(found) == 1 else f"{{{','.join(found)}}}") for stem, found in seeds.items()
    )
