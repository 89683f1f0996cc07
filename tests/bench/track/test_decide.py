"""The rule keeps its error rate over several looks and benchmarks, and sees what it says it can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.track.check import Budget, Check, Line, run_check
from bench.track.decide import Design, Verdict, judge

from .simulation import SimulatedMachine

CHECKS = 200
QUICK = tuple(f"benchmark-{index}" for index in range(12))


def checks(slowdown: float, names: tuple[str, ...] = ("step",), seed: int = 0, **noise: float) -> list[Check]:
    """Simulated checks, each in a job of its own."""
    rng = np.random.default_rng(seed)
    return [
        run_check(Design(), [Line(name) for name in names], SimulatedMachine(slowdown, rng, **noise))
        for _ in range(CHECKS)
    ]


def share(found: list[Check], verdict: Verdict) -> float:
    """How many checks have that verdict on any benchmark."""
    return sum(any(line.verdict is verdict for line in check.lines) for check in found) / len(found)


@pytest.mark.parametrize("names", [("step",), QUICK], ids=["one benchmark", "twelve"])
def test_without_a_slowdown_nothing_is_called_slower(names: tuple[str, ...]) -> None:
    """The stated rate is 1 % of checks; at no slowdown at all the margin makes it far less, so of 200 checks none may alarm."""
    found = checks(0.0, names)
    assert share(found, Verdict.REGRESSED) == 0
    fine = sum(line.verdict is Verdict.FINE for check in found for line in check.lines) / (CHECKS * len(names))
    assert fine > 0.95


def test_ten_percent_is_caught_four_times_in_five_and_a_quarter_always() -> None:
    assert share(checks(0.25), Verdict.REGRESSED) == 1
    assert share(checks(0.10), Verdict.REGRESSED) >= 0.8
    assert share(checks(0.10), Verdict.FINE) <= 0.03  # 1 %, and 2.7 standard deviations of 200 checks


def test_ten_percent_is_caught_in_each_of_twelve_benchmarks() -> None:
    lines = [line for check in checks(0.10, QUICK) for line in check.lines]
    assert sum(line.verdict is Verdict.REGRESSED for line in lines) >= 0.8 * len(lines)
    lines = [line for check in checks(0.25, QUICK) for line in check.lines]
    assert all(line.verdict is Verdict.REGRESSED for line in lines)


def test_five_percent_is_seldom_missed_or_called_by_luck() -> None:
    """Between margin and tolerance either answer is right; the ratio that goes with it is about 1.05."""
    for check in checks(0.05):
        (line,) = check.lines
        assert line.verdict in (Verdict.REGRESSED, Verdict.FINE, Verdict.INCONCLUSIVE)
        assert line.judgement is not None
        assert 0.98 < line.judgement.ratio < 1.13


@pytest.mark.parametrize("noise", [{}, {"process": 0.3}], ids=["as stated", "ten times noisier"])
@pytest.mark.parametrize("names", [QUICK[:1], QUICK[:4]], ids=["one benchmark", "four"])
def test_the_rate_over_all_looks_holds_where_it_is_hardest_to_hold(
    names: tuple[str, ...], noise: dict[str, float]
) -> None:
    """A slowdown of exactly the margin, in 1,000 checks: more than 21 alarms would have probability 5e-4 at a rate of 1 %."""
    found = [check for seed in range(5) for check in checks(Design().margin, names, seed=seed, **noise)]
    alarms = sum(any(line.verdict is Verdict.REGRESSED for line in check.lines) for check in found)
    assert stats.binom.sf(alarms - 1, len(found), 0.01) > 5e-4


def test_looks_without_sharing_the_rate_would_break_it() -> None:
    """That the simulation can see a broken rule: every look at the full 1 % alarms too often at the margin."""
    rng = np.random.default_rng(0)
    design, alarms = Design(), 0
    for _ in range(2000):
        d = rng.normal(math.log1p(design.margin), 0.3, 24)
        alarms += any(judge(d[:n], 0.01, design).verdict is Verdict.REGRESSED for n in design.looks)
    assert stats.binom.sf(alarms - 1, 2000, 0.01) < 1e-4


def test_levels_add_up_to_the_stated_rate() -> None:
    for design in (Design(), Design(0.95, looks=(4, 6)), Design().up_to(5), Design().up_to(100)):
        before, spent = 0, 0.0
        for look in design.looks:
            spent += design.level(look, before, look == design.looks[-1], benchmarks=3)
            before = look
        assert spent * 3 == pytest.approx(1 - design.confidence)
    early = Design().level(8, 0, False, 1) + Design().level(10, 8, True, 1)  # the time ended after 10 pairs
    assert early == pytest.approx(0.01)


def test_the_detectable_effect_is_detected_four_times_in_five() -> None:
    """Of 2,000 repetitions at the detectable effect of a typical look; the formula leaves out that the spread is estimated."""
    rng = np.random.default_rng(1)
    spread, design, level = 0.04, Design(), 0.01
    sizes = [judge(rng.normal(0, spread, 12), level, design).detectable for _ in range(400)]
    effect = math.log1p(float(np.mean(sizes)))
    caught = [judge(rng.normal(effect, spread, 12), level, design).verdict is Verdict.REGRESSED for _ in range(2000)]
    assert 0.72 < np.mean(caught) < 0.88


def test_bounds_are_those_of_students_t() -> None:
    d = [0.01, 0.02, 0.05, -0.01]
    said = judge(d, 0.01, Design())
    low = stats.ttest_1samp(d, 0).confidence_interval(0.98).low
    assert said.lower == pytest.approx(math.exp(low))
    assert said.ratio == pytest.approx(math.exp(np.mean(d)))


@pytest.mark.parametrize(
    ("d", "verdict"),
    [
        ([0.2] * 4, Verdict.REGRESSED),
        ([-0.2] * 4, Verdict.IMPROVED),
        ([0.0] * 4, Verdict.FINE),
        ([0.05] * 4, Verdict.REGRESSED),
        ([0.2, -0.2, 0.2, -0.2], Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(d: list[float], verdict: Verdict) -> None:
    assert judge(d, 0.01, Design()).verdict is verdict


@pytest.mark.parametrize("d", [[0.1, 0.1], [0.1, math.nan, 0.1]])
def test_too_little_is_refused(d: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 3 finite"):
        judge(d, 0.01, Design())


@pytest.mark.parametrize(
    "settings",
    [
        {"confidence": 1.0},
        {"margin": 0.2},
        {"looks": ()},
        {"looks": (2, 8)},
        {"looks": (8, 8)},
    ],
)
def test_designs_that_cannot_decide_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Design(**settings)  # type: ignore[arg-type]


def test_the_time_budget_ends_a_check_at_a_last_look() -> None:
    """Processes of about ten seconds, two a pair: 225 seconds hold nine or ten; the look there spends what is left of the rate."""
    machine = SimulatedMachine(0.0, np.random.default_rng(0), process=0.2)
    found = run_check(Design(), [Line("step")], machine, Budget(225.0, machine.clock))
    assert found.out_of_time
    assert 8 < found.pairs < 12
    assert machine.now < 225
    (line,) = found.lines
    assert line.verdict is Verdict.INCONCLUSIVE
    assert line.judgement is not None
    assert line.judgement.level == pytest.approx(Design().level(found.pairs, 8, True, 1))


def test_no_time_at_all_is_inconclusive_without_bounds() -> None:
    found = run_check(Design(), [Line("step")], SimulatedMachine(0.0, np.random.default_rng(0)), Budget(-1.0))
    (line,) = found.lines
    assert (line.verdict, line.judgement) == (Verdict.INCONCLUSIVE, None)
    assert "only 0 pairs" in line.note
