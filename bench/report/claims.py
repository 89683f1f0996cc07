"""Judged claims as a reader sees them: on the terminal, and as the verdict at the head of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

from bench.claims import Claim, Comparison, Judgement, Outcome
from bench.report.blocks import Answer, Finding, Verdict
from bench.report.text import arrow, direction, estimate_text, listed, number, readout_name, readout_text
from bench.results.sources import Source
from bench.words import plural

__all__ = ["claims_block", "readout_words"]


def claims_block(judged: Sequence[Judgement], *, everything: bool = False) -> Verdict:
    """Return what runs say about claims: a finding per claim, a line per dataset, and below it the comparisons and lost seeds.

    Claims that were not run are one point, unless `everything` is wanted: then a line each, and comparisons are left out.
    """
    shown = [each for each in judged if everything or each.verdict != "not run"]
    findings = []
    for claim in dict.fromkeys(each.claim for each in shown):
        own = [each for each in shown if each.claim == claim]
        runs = _compact_runs(
            dict.fromkeys(run for each in own for compared in each.comparisons for run in compared.runs)
        )
        facts = [] if everything else [fact for each in own for fact in _each_comparison(each)]
        answers = [answer for each in own for answer in (_answer(each), *_losses(each))]
        findings.append(
            Finding(f"{claim.id}: {claim.sentence}", "", answers, [*facts, *([("runs", runs)] if runs else [])])
        )
    missing = dict.fromkeys(f"{each.claim.id} ({each.reason})" for each in judged if each not in shown)
    counts = Counter(each.verdict for each in judged)
    tested = sum(each.p_value is not None for each in judged)
    return Verdict(
        "Claims",
        "What do these runs say about the claims of the paper and of this benchmark?",
        [", ".join(f"{counts[outcome]} {outcome}" for outcome in get_args(Outcome)) + "."],
        findings,
        [f"Not run: {'; '.join(missing)}."] if missing else [],
        "A claim is supported if it holds for every readout that it is about, contradicted if it fails for any, by p-values corrected by "
        f"Holm's method for the {plural(tested, 'judgement')} read here together; over shared seeds, 3 at least, at the longest "
        "chain. The effect is that of the comparison on which the verdict rests; its 95 % interval is not corrected. Seeds that were "
        "refused, diverged or collapsed count against a claim: it must also hold with them at their worst.",
    )


def readout_words(readout: Source) -> str:
    """Return a model with its readout, such as "gebm ula β=1 (model), step 0.01, 300 steps"."""
    return f"{readout.label} {readout_text(readout)}"


def _answer(judged: Judgement) -> Answer:
    """Return the line of a claim on a dataset: the verdict, and the comparison on which it rests."""
    place, claim, decisive = _place(judged), judged.claim, judged.decisive
    firm = judged.verdict in ("supported", "contradicted")
    if decisive is None or decisive.estimate is None:
        return Answer(judged.verdict, place, detail=judged.reason, firm=False)
    count = len(judged.comparisons)
    grounds = [_sample(decisive)]
    if judged.p_value is not None:
        grounds.append(f"p {number(judged.p_value)}, after Holm {number(judged.p_holm)}")
    if count > 1:
        favourable = sum(each.favourable for each in judged.comparisons)
        grounds.append(f"{favourable} of {count} comparisons on the claimed side")
    subject = f"{place}: {_sides(claim, decisive)}"
    effect = -decisive.estimate if direction(decisive.metric) < 0 else decisive.estimate
    detail = "; ".join(filter(None, (", ".join(grounds), judged.reason)))
    return Answer(judged.verdict, subject, _effect(claim, decisive), detail, effect, decisive.metric, firm)


def _losses(judged: Judgement) -> Iterator[Answer]:
    """Yield a line per model that lost seeds."""
    for lost in judged.losses:
        ways = {"refused": lost.refused, "collapsed": lost.collapsed, "diverged": lost.diverged}
        said = [f"{len(seeds)} {way}" for way, seeds in ways.items() if seeds]
        if said:
            subject = f"by {lost.label} {_place(judged)}: {listed(said)} of {plural(len(lost.asked), 'seed')}"
            yield Answer("seeds lost", subject, firm=False)


def _each_comparison(judged: Judgement) -> Iterator[tuple[str, str]]:
    """Yield, where a verdict is about several comparisons, what each of them says, and what could not be compared."""
    name = f"all {_place(judged)}"
    if len(judged.comparisons) > 1:
        said = []
        for each in judged.comparisons:
            p_value = [] if each.p_value is None else [f"p {number(each.p_value)}"]
            numbers = [_effect(judged.claim, each), _sample(each), *p_value] if each.estimate else []
            said.append(f"{_sides(judged.claim, each)}: {', '.join(filter(None, (*numbers, each.reason)))}")
        yield name, "; ".join(said)
    if judged.comparisons and judged.not_run:
        yield f"not run {_place(judged)}", "; ".join(judged.not_run)


def _place(judged: Judgement) -> str:
    return f"on {judged.suite} ({judged.profile}), {judged.dataset}" if judged.suite else ""


def _effect(claim: Claim, compared: Comparison) -> str:
    text = f"{arrow(compared.metric)} {estimate_text(compared.estimate)}"
    text += " per tenfold length" * (claim.rule == "trend")
    return text + (f" (margin {claim.margin:g})" if claim.margin is not None else "")


def _sample(compared: Comparison) -> str:
    """Return how many seeds an estimate rests on, and of how many."""
    n = compared.estimate.n if compared.estimate else 0
    rows = ", over seeds and test rows" * (compared.interval_kind == "seeds and rows")
    unpaired = f" ({compared.dropped} unpaired)" if compared.dropped else ""
    return f"n = {n}{unpaired}{rows}"


def _sides(claim: Claim, compared: Comparison) -> str:
    """Return what was compared with what."""
    treatment, reference = compared.treatment, compared.reference
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
