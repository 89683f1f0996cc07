"""Tests hold their level, alone and together; exact where enumeration or a closed form says what is right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.stats import holm, sign_flip_p_value

VALUES = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=2, max_size=7)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for i, adjusted in enumerate(holm(p_values)):
        rank = order.index(i)
        steps = [min(1.0, (len(p_values) - k) * p_values[order[k]]) for k in range(rank + 1)]
        assert adjusted == pytest.approx(max(steps))


def test_holm_bounds_the_chance_of_any_false_rejection() -> None:
    # 20 true null hypotheses a study, 1,000 studies: a share of at most 0.05, standard deviation 0.007, band of 4.
    studies = np.random.default_rng(0).random((1000, 20))
    wrong = np.mean([min(holm(list(study))) <= 0.05 for study in studies])
    assert wrong < 0.05 + 4 * 0.007
    assert np.mean(studies.min(1) <= 0.05) > 0.5
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, 1.5])


def test_sign_flips_hold_their_level() -> None:
    # Under the null hypothesis P(p ≤ 1/8) is at most 1/8 (exactly 1/8 without ties) at n = 5: 2,000 draws, standard
    # deviation 0.0074, band of 4.
    rng = np.random.default_rng(11)
    share = np.mean([sign_flip_p_value(rng.standard_t(3, 5)) <= 0.125 for _ in range(2000)])
    assert abs(share - 0.125) < 0.03


@given(VALUES)
def test_sign_flips_equal_enumeration(values: list[float]) -> None:
    sample = np.array(values)
    observed = abs(sample.mean())
    flips = [abs(np.mean(sample * signs)) for signs in itertools.product((1, -1), repeat=len(sample))]
    expected = np.mean([flip >= observed * (1 - 1e-12) - 1e-12 for flip in flips])
    assert sign_flip_p_value(sample) == pytest.approx(expected)


def test_sign_flips_are_scipys_as_small_as_patterns_allow_and_repeatable() -> None:
    sample = np.random.default_rng(0).normal(1.0, 1.0, 30)
    flips = stats.permutation_test((sample[:9],), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p_value(sample[:9]) == pytest.approx(flips)
    assert [sign_flip_p_value(range(1, n + 1)) for n in (1, 2, 3, 5)] == [1.0, 0.5, 0.25, 0.0625]
    assert sign_flip_p_value(sample) == sign_flip_p_value(sample) < 0.01
