"""Laws of the statistics: coverage, invariance, and exactness against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import mean_interval, paired_difference, sign_flip_p_value

VALUES = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=2, max_size=7)


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_covers_the_mean_as_often_as_it_says(n: int) -> None:
    # 4,000 intervals of exact coverage 0.95: a binomial share, standard deviation 0.0034. The band is 4 of them wide on
    # each side, false-alarm rate 6e-5 were the seed not fixed.
    draws = np.random.default_rng(20210503 + n).normal(3.0, 2.0, size=(4000, n))
    intervals = [mean_interval(row) for row in draws]
    covered = np.mean(
        [e.ci_low <= 3.0 <= e.ci_high for e in intervals if e.ci_low is not None and e.ci_high is not None]
    )
    assert abs(covered - 0.95) < 0.014


@pytest.mark.parametrize("n", [3, 5])
def test_paired_interval_ignores_what_the_two_sides_share(n: int) -> None:
    # Seeds differ by 100, the effect is 1 with noise 0.1: only a paired interval sees it. Coverage as above, 1,000
    # draws (standard deviation 0.0069, band of 4: false-alarm rate 6e-5).
    rng = np.random.default_rng(7)
    covered = excluded = 0
    for _ in range(1000):
        shared = rng.normal(0, 100, n)
        first = dict(enumerate(shared + 1 + rng.normal(0, 0.1, n)))
        estimate = paired_difference(first, dict(enumerate(shared))).estimate
        assert estimate is not None
        assert estimate.ci_low is not None
        assert estimate.ci_high is not None
        covered += estimate.ci_low <= 1 <= estimate.ci_high
        excluded += estimate.excludes_zero
    assert abs(covered / 1000 - 0.95) < 0.028
    assert excluded > 900


def test_sign_flip_holds_its_level() -> None:
    # Under the null hypothesis P(p ≤ 1/8) is at most 1/8 (exactly 1/8 without ties) at n = 5: 2,000 draws, standard
    # deviation 0.0074, band of 4.
    rng = np.random.default_rng(11)
    share = np.mean([sign_flip_p_value(rng.standard_t(3, 5)) <= 0.125 for _ in range(2000)])
    assert abs(share - 0.125) < 0.03


@given(VALUES)
def test_sign_flip_equals_enumeration(values: list[float]) -> None:
    sample = np.array(values)
    observed = abs(sample.mean())
    flips = [abs(np.mean(sample * signs)) for signs in itertools.product((1, -1), repeat=len(sample))]
    expected = np.mean([flip >= observed * (1 - 1e-12) - 1e-12 for flip in flips])
    assert sign_flip_p_value(sample) == pytest.approx(expected)


def test_sign_flip_cannot_be_smaller_than_the_number_of_patterns_allows() -> None:
    assert [sign_flip_p_value(range(1, n + 1)) for n in (1, 2, 3, 5)] == [1.0, 0.5, 0.25, 0.0625]


def test_sign_flip_beyond_enumeration_is_repeatable() -> None:
    sample = np.random.default_rng(0).normal(1.0, 1.0, 30)
    assert sign_flip_p_value(sample) == sign_flip_p_value(sample) < 0.01


@given(VALUES, st.floats(-100, 100), st.floats(0.1, 10))
def test_interval_moves_and_scales_with_the_values(values: list[float], shift: float, scale: float) -> None:
    plain, moved = mean_interval(values), mean_interval([shift + scale * v for v in values])
    assert plain.ci_low is not None
    assert moved.ci_low is not None
    assert moved.mean == pytest.approx(shift + scale * plain.mean, abs=1e-8)
    assert moved.ci_low == pytest.approx(shift + scale * plain.ci_low, abs=1e-6, rel=1e-6)


@given(VALUES, st.integers(0, 3))
def test_pairing_is_antisymmetric_and_drops_unshared_seeds(values: list[float], extra: int) -> None:
    first = dict(enumerate(values))
    second = {seed: 0.5 * v for seed, v in first.items()} | {100 + i: 1e6 for i in range(extra)}
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert there.estimate is not None
    assert back.estimate is not None
    assert there.estimate.mean == pytest.approx(-back.estimate.mean)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.seeds == back.seeds == tuple(first)
    assert there.dropped == back.dropped == extra


def test_one_seed_has_no_interval_and_two_are_flagged() -> None:
    one, two, three = (mean_interval(values) for values in ([5.0], [5.0, 6.0], [5.0, 6.0, 7.0]))
    assert (one.mean, one.ci_low, one.ci_high, one.n) == (5.0, None, None, 1)
    assert not one.excludes_zero
    assert two.wide
    assert not three.wide


def test_no_shared_seed_is_no_estimate() -> None:
    nothing = paired_difference({0: 1.0}, {1: 1.0})
    assert (nothing.estimate, nothing.p_value, nothing.seeds, nothing.dropped) == (None, None, (), 2)


def test_interval_touching_zero_does_not_exclude_it() -> None:
    assert not mean_interval([0.0, 0.0, 0.0]).excludes_zero
    assert mean_interval([1.0, 1.0, 1.0]).excludes_zero


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_missing_and_infinite_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no values|not finite"):
        mean_interval(values)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([1.0, 2.0], confidence=95)
