"""The rule keeps its error rate over several looks and benchmarks, and sees what it says it can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench.track.check import BenchmarkResult, Check
from bench.track.decide import Design, Verdict, judge

from .simulation import SimulatedMachine

CHECKS = 200
QUICK = tuple(f"benchmark-{index}" for index in range(12))


def checks(slowdown: float, names: tuple[str, ...] = ("step",), seed: int = 0, **noise: float) -> list[Check]:
    """Simulated checks, each in a job of its own."""
    rng = np.random.default_rng(seed)
    return [run(SimulatedMachine(slowdown, rng, **noise), names) for _ in range(CHECKS)]


def run(machine: SimulatedMachine, names: tuple[str, ...] = ("step",), deadline: float = math.inf) -> Check:
    """One check on a machine, by its own clock."""
    check = Check(Design(), [BenchmarkResult(name) for name in names])
    check.run(machine, deadline, machine.clock)
    return check


def share(found: list[Check], verdict: Verdict) -> float:
    """How many checks have that verdict on any benchmark."""
    return sum(any(result.verdict is verdict for result in check.results) for check in found) / len(found)


@pytest.mark.parametrize("names", [("step",), QUICK], ids=["one benchmark", "twelve"])
def test_without_a_slowdown_nothing_is_called_slower(names: tuple[str, ...]) -> None:
    """The stated rate is 1 % of checks; at no slowdown at all the margin makes it far less, so of 200 checks none may alarm."""
    found = checks(0.0, names)
    assert share(found, Verdict.REGRESSED) == 0
    fine = sum(result.verdict is Verdict.FINE for check in found for result in check.results) / (CHECKS * len(names))
    assert fine > 0.95


@pytest.mark.parametrize("names", [("step",), QUICK], ids=["one benchmark", "twelve"])
def test_ten_percent_is_caught_four_times_in_five_and_a_quarter_always(names: tuple[str, ...]) -> None:
    tenth, quarter = (
        [result.verdict for check in checks(slowdown, names) for result in check.results] for slowdown in (0.10, 0.25)
    )
    assert tenth.count(Verdict.REGRESSED) >= 0.8 * len(tenth)
    assert tenth.count(Verdict.FINE) <= 0.03 * len(tenth)  # 1 %, and 2.7 standard deviations of 200 checks
    assert set(quarter) == {Verdict.REGRESSED}


def test_five_percent_is_seldom_missed_or_called_by_luck() -> None:
    """Between margin and tolerance either answer is right; the ratio that goes with it is about 1.05."""
    for check in checks(0.05):
        (result,) = check.results
        assert result.verdict in (Verdict.REGRESSED, Verdict.FINE, Verdict.INCONCLUSIVE)
        assert result.judgement is not None
        assert 0.98 < result.judgement.ratio < 1.13


@pytest.mark.parametrize(
    ("names", "noise"), [(QUICK[:1], {}), (QUICK[:4], {"process": 0.3})], ids=["one", "four, ten times noisier"]
)
def test_the_rate_over_all_looks_holds_where_it_is_hardest_to_hold(
    names: tuple[str, ...], noise: dict[str, float]
) -> None:
    """A slowdown of exactly the margin, in 1,000 checks: more than 21 alarms would have probability 5e-4 at a rate of 1 %."""
    found = [check for seed in range(5) for check in checks(Design().margin, names, seed=seed, **noise)]
    alarms = sum(any(result.verdict is Verdict.REGRESSED for result in check.results) for check in found)
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
    found = run(machine, deadline=225.0)
    assert found.out_of_time
    assert 8 < found.pairs < 12
    assert machine.now < 225
    (result,) = found.results
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.judgement is not None
    assert result.judgement.level == pytest.approx(Design().level(found.pairs, 8, True, 1))


def test_no_time_at_all_is_inconclusive_without_bounds() -> None:
    found = run(SimulatedMachine(0.0, np.random.default_rng(0)), deadline=-1.0)
    (result,) = found.results
    assert (result.verdict, result.judgement) == (Verdict.INCONCLUSIVE, None)
    assert "only 0 pairs" in result.note
