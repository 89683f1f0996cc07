"""Aggregates and corrections: exact where enumeration or a closed form says what is right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats import (
    bootstrap_interval,
    holm,
    improvement_probability,
    interquartile_mean,
    mean_interval,
    paired_difference,
    sign_flip_interval,
    sign_flip_p_value,
    simultaneous_confidence,
    smallest_sign_flip_p_value,
    two_level_difference,
)
from bench.stats.estimates import t_tail

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(P_VALUES)
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for i, adjusted in enumerate(holm(p_values)):
        rank = order.index(i)
        steps = [min(1.0, (len(p_values) - k) * p_values[order[k]]) for k in range(rank + 1)]
        assert adjusted == pytest.approx(max(steps))


def test_holm_refuses_what_is_no_p_value() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])


def test_holm_bounds_the_chance_of_any_false_rejection() -> None:
    # 20 true null hypotheses a study, 1,000 studies: a share of at most 0.05, standard deviation 0.007, band of 4.
    rng = np.random.default_rng(0)
    studies = rng.random((1000, 20))
    wrong = np.mean([min(holm(list(study))) <= 0.05 for study in studies])
    assert wrong < 0.05 + 4 * 0.007
    assert np.mean(studies.min(1) <= 0.05) > 0.5


def test_simultaneous_intervals_hold_together() -> None:
    # 8 intervals a study of 5 values, 500 studies: all cover in 0.95 of them or more, standard deviation 0.0097.
    rng = np.random.default_rng(1)
    together = simultaneous_confidence(8)
    held = 0
    for _ in range(500):
        found = [mean_interval(values).at(together) for values in rng.normal(size=(8, 5))]
        held += all(each.ci_low is not None and each.ci_low <= 0 <= (each.ci_high or 0) for each in found)
    assert held / 500 >= 0.93
    with pytest.raises(ValueError, match="no interval"):
        simultaneous_confidence(0)


@given(st.lists(st.integers(-40, 40).map(float), min_size=6, max_size=8, unique=True))
def test_the_sign_flip_interval_inverts_the_sign_flip_test(values: list[float]) -> None:
    estimate = sign_flip_interval(values)
    assert estimate.ci_low is not None
    assert estimate.ci_high is not None
    sample, margin = np.array(values), 1e-6
    assert sign_flip_p_value(sample - (estimate.ci_low - margin)) <= 0.05
    assert sign_flip_p_value(sample - (estimate.ci_high + margin)) <= 0.05
    assert sign_flip_p_value(sample - (estimate.ci_low + margin)) > 0.05
    assert sign_flip_p_value(sample - (estimate.ci_high - margin)) > 0.05


def test_the_least_p_value_is_that_of_one_sign() -> None:
    for n in range(1, 9):
        assert smallest_sign_flip_p_value(n) == sign_flip_p_value(range(1, n + 1))


def test_p_values_and_intervals_agree() -> None:
    estimate = mean_interval([1.0, 2.0, 4.0])
    low, high = estimate.ci_low, estimate.ci_high
    assert low is not None
    assert high is not None
    assert t_tail(estimate, low, "above") == pytest.approx(0.025)
    assert t_tail(estimate, high, "below") == pytest.approx(0.025)
    assert t_tail(estimate, high, "above") == pytest.approx(0.975)
    assert t_tail(-estimate, -low, "below") == pytest.approx(0.025)
    assert [t_tail(mean_interval([2.0, 2.0]), 1.0, side) for side in ("above", "below")] == [0.0, 1.0]
    with pytest.raises(ValueError, match="no p-value"):
        t_tail(mean_interval([1.0]), 0.0, "above")


def test_the_bootstrap_of_equal_values_is_a_point() -> None:
    estimate = bootstrap_interval([2.0] * 6)
    assert (estimate.ci_low, estimate.mean, estimate.ci_high) == (2.0, 2.0, 2.0)


def test_interquartile_mean_ignores_one_bad_run() -> None:
    good = [list(np.linspace(0, 1, 10)) for _ in range(3)]
    bad = [*good[:2], [*good[2][:-1], -1e6]]
    assert interquartile_mean(bad).mean == pytest.approx(interquartile_mean(good).mean, abs=0.05)
    with pytest.raises(ValueError, match="no task"):
        interquartile_mean([])


def test_probability_of_improvement_knows_direction_ties_and_what_is_shared() -> None:
    first, second = {0: 1.0, 1: 2.0, 2: 3.0, 9: 0.0}, {0: 0.0, 1: 2.0, 2: 9.0, 8: 0.0}
    higher, lower = (improvement_probability(first, second, sign) for sign in (1, -1))
    assert higher is not None
    assert lower is not None
    assert (higher.mean, lower.mean, higher.n) == (0.5, 0.5, 3)
    assert improvement_probability({0: 1.0}, {1: 1.0}, 1) is None
    always = improvement_probability(dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5), 0.0), 1)
    assert always is not None
    assert always.mean == always.ci_high == 1.0
    assert always.ci_low == pytest.approx(0.025 ** (1 / 5))
    with pytest.raises(ValueError, match="sign"):
        improvement_probability(first, second, 0)


def test_two_levels_reduce_to_one_where_the_other_has_no_part() -> None:
    seeds = np.array([1.0, 2.0, 4.0])
    cells = {i: np.full(50, value) for i, value in enumerate(seeds)}
    found = two_level_difference(cells, {i: np.zeros(50) for i in range(3)})
    assert found is not None
    plain = mean_interval(seeds)
    assert (found.estimate.ci_low, found.estimate.ci_high) == pytest.approx((plain.ci_low, plain.ci_high))
    assert (found.point_error, found.seed_error) == (0.0, pytest.approx(plain.standard_error))


def test_two_levels_pair_by_point() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 100, 200)
    first = {seed: hard + 1 + rng.normal(0, 0.1, 200) for seed in range(3)}
    found = two_level_difference(first, dict.fromkeys(range(4), hard))
    assert found is not None
    assert found.estimate.side(0.9) == "above"
    assert found.seeds == (0, 1, 2)
    assert found.points == 200


def test_two_levels_say_what_they_lack() -> None:
    one = two_level_difference({0: np.arange(5.0)}, {0: np.zeros(5)})
    assert one is not None
    assert (one.estimate.mean, one.estimate.ci_low, one.seed_error) == (2.0, None, None)
    assert "one seed" in one.estimate.why_not
    assert one.point_error == pytest.approx(np.sqrt(0.5))
    assert two_level_difference({0: np.zeros(3)}, {1: np.zeros(3)}) is None
    with pytest.raises(ValueError, match="test points differ"):
        two_level_difference({0: np.zeros(3)}, {0: np.zeros(4)})
    with pytest.raises(ValueError, match="finite"):
        two_level_difference({0: np.array([1.0, np.nan])}, {0: np.zeros(2)})


@pytest.mark.parametrize(
    ("values", "side"), [([1.0, 2.0], "unclear"), ([1.0, 1.0], "above"), ([-1.0] * 3, "below"), ([1.0], "no interval")]
)
def test_the_side_of_an_interval(values: list[float], side: str) -> None:
    assert mean_interval(values).side() == side
    assert mean_interval(values).side(1.0) == ("below" if side == "below" else "unclear" if len(values) > 1 else side)
    assert mean_interval([value + 1 for value in values]).side(1.0) == side


def test_a_paired_difference_carries_both_kinds_of_inference() -> None:
    found = paired_difference(dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])), dict.fromkeys(range(6), 0.0))
    assert found.p_value == sign_flip_p_value(found.differences) == 2 / 64
    assert found.p_value_can_decide
    assert found.exact == sign_flip_interval(found.differences)
    few = paired_difference({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0})
    assert not few.p_value_can_decide
    assert few.exact is not None
    assert "6 are needed" in few.exact.why_not


def test_formulas_agree_with_scipys_own() -> None:
    values = np.random.default_rng(0).normal(size=23)
    assert interquartile_mean([values]).mean == pytest.approx(stats.trim_mean(values, 0.25))
    interval = stats.ttest_1samp(values, 0.0).confidence_interval()
    ours = mean_interval(values)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((interval.low, interval.high))
    assert t_tail(ours, 0.1, "above") == pytest.approx(stats.ttest_1samp(values, 0.1, alternative="greater").pvalue)
    for wins in range(6):
        gains = dict(enumerate([1.0] * wins + [-1.0] * (5 - wins)))
        found = improvement_probability(gains, dict.fromkeys(range(5), 0.0), 1)
        exact = stats.binomtest(wins, 5).proportion_ci(method="exact")
        assert found is not None
        assert (found.ci_low, found.ci_high) == pytest.approx((exact.low, exact.high))
    flips = stats.permutation_test((values[:9],), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p_value(values[:9]) == pytest.approx(flips)
