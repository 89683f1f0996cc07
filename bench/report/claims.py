"""Judged claims as a reader sees them: on the terminal, and as the verdict at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bench.claims import Judgement, Outcome
from bench.report.blocks import Answer, Effect, Finding, Tone, Verdict
from bench.report.text import PAPER_BETA, arrow, direction, estimate_text, number
from bench.results.sources import Source
from bench.stats import Estimate

__all__ = ["claims_block", "effect_of", "readout_words"]

_TONES: dict[Outcome, Tone] = {
    "supported": "good",
    "contradicted": "bad",
    "inconclusive": "open",
    "not run": "plain",
}


def claims_block(judged: Sequence[Judgement], *, everything: bool = False) -> Verdict:
    """Return what runs say about claims, a finding per claim; those that were not run are one point, unless `everything` is wanted."""
    shown = [each for each in judged if everything or each.verdict != "not run"]
    findings = []
    for claim in dict.fromkeys(each.claim for each in shown):
        own = [each for each in shown if each.claim == claim]
        runs = ", ".join(_compact_runs(dict.fromkeys(run for each in own for run in each.runs)))
        findings.append(Finding(claim.sentence, claim.id, [*map(_answer, own)], [("runs", runs)] if runs else []))
    missing = dict.fromkeys(f"{each.claim.id} ({each.reason})" for each in judged if each not in shown)
    points = [f"Not run: {'; '.join(missing)}."] if missing else []
    question = "What do these runs say about the paper's claims?"
    counts = Counter(each.verdict for each in judged)
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in _TONES)
    tested = sum(each.p_value is not None for each in judged)
    note = (
        "A verdict is where a 95 % Student-t interval lies, each taken by itself, over shared seeds at the longest chain. p is corrected "
        f"by Holm's method for the {tested} interval{'s' * (tested != 1)} read here together; verdicts in bold survive the correction, "
        "others may be chance."
    )
    return Verdict("The paper's claims", question, [f"{summary}."], findings, points, note)


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
    turned = estimate if sense > 0 else -estimate
    return Effect(turned.mean, turned.ci_low, turned.ci_high, unit)


def _answer(judged: Judgement) -> Answer:
    detail, text, effect = [judged.reason], "", None
    if judged.estimate is not None:
        claim = judged.claim
        effect = effect_of(judged.estimate, direction(judged.metric) or 1, judged.metric)
        unit = " per tenfold length" if claim.rule == "trend" else ""
        unit += f" (margin {claim.margin:g})" if claim.margin is not None else ""
        text = f"{arrow(judged.metric)} {estimate_text(judged.estimate)}{unit}"
        counted = [f"n = {judged.estimate.n}", f"{judged.dropped} unpaired" if judged.dropped else ""]
        if judged.p_value is not None:
            counted.append(f"p {number(judged.p_value)}, after Holm {number(judged.p_holm)}")
        if judged.together is not None and judged.together.ci_low is not None:
            counted.append(f"with all others {estimate_text(judged.together)}")
        detail.insert(0, ", ".join(filter(None, counted)))
    place = f"{judged.suite} ({judged.profile}), {judged.dataset}" if judged.suite else ""
    subject, said = ("; ".join(filter(None, parts)) for parts in ((place, _comparison(judged)), detail))
    holds = judged.p_holm is not None and judged.p_holm <= 0.05
    return Answer(subject, judged.verdict, _TONES[judged.verdict], text, said, effect, holds)


def _comparison(judged: Judgement) -> str:
    """Return what was compared with what."""
    treatment, reference, claim = judged.treatment, judged.reference, judged.claim
    if treatment is None:
        return ""
    if claim.rule == "trend":
        return f"{readout_words(treatment, length=False)}, over its lengths"
    if reference is not None:
        own = reference.label == treatment.label and reference.sampler == "base"
        return f"{readout_words(treatment)} − {'its own base' if own else readout_words(reference)}"
    value = claim.reference.value if claim.reference else None
    return readout_words(treatment) + (f" against {value:g}" if value is not None else "")


def _compact_runs(runs: Iterable[str]) -> list[str]:
    """Return run ids with the seeds of one identity together, as a shell would expand them: digits/gebm/9be8dc29fd1a-s{0,1}."""
    seeds: dict[str, list[str]] = {}
    for run in runs:
        stem, dash, seed = run.rpartition("-s")
        seeds.setdefault(f"{stem}{dash}" if dash else run, []).extend([seed] if dash else [])
    return [
        stem + (("{" + ",".join(found) + "}") if len(found) > 1 else "".join(found)) for stem, found in seeds.items()
    ]
