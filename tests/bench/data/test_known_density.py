"""Laws of known density: they integrate to 1, their entropy is what they say, and their draws follow them.

Tests against Monte Carlo allow 5 standard errors (false alarm below 1e-6 each); Kolmogorov–Smirnov tests fail at p < 1e-4. Seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from bench.data import load_dataset
from bench.data.known_density import DIMENSIONS, LINE, PLANE, Banana, Block, Bumps, Ring, known_density

from .conftest import facts

ALARM = 1e-4
BLOCKS = [pytest.param(block, id=f"{type(block).__name__}-{i}") for i, block in enumerate([*PLANE, LINE])]
each_block = pytest.mark.parametrize("block", BLOCKS)
each_dimension = pytest.mark.parametrize("name", DIMENSIONS)


def follows(law: np.ndarray) -> bool:
    """Whether values may be draws from U(0, 1)."""
    return bool(stats.kstest(law, "uniform").pvalue > ALARM)


@each_block
def test_a_block_integrates_to_one_and_its_entropy_is_the_integral(block: Block) -> None:
    step = 0.02 if isinstance(block, Ring) else 0.1
    axis = np.arange(-8, 8, step) + step / 2
    points = np.stack(np.meshgrid(*[axis] * block.dimension, indexing="ij"), axis=-1).reshape(-1, block.dimension)
    log_p, volume = block.log_prob(points), step**block.dimension
    assert np.exp(log_p).sum() * volume == pytest.approx(1, abs=2e-4)
    assert -(np.exp(log_p) * log_p).sum() * volume == pytest.approx(block.entropy, abs=1e-3)


def test_entropy_by_quadrature_agrees_with_an_adaptive_rule() -> None:
    def integrand(x: float) -> float:
        log_p = float(LINE.log_prob(np.array([[x]]))[0])
        return -math.exp(log_p) * log_p

    assert integrate.quad(integrand, -6, 6, epsabs=1e-10)[0] == pytest.approx(LINE.entropy, abs=1e-8)
    one = Bumps(np.array([[0.3, -0.2]]), 0.7)
    assert one.entropy == pytest.approx(1 + math.log(2 * math.pi) + 2 * math.log(0.7), abs=1e-9)


def rosenblatt(block: Block, x: np.ndarray) -> np.ndarray:
    """Coordinates that are independent and uniform on (0, 1) if x follows the block."""
    if isinstance(block, Ring):
        angle = np.arctan2(x[:, 1], x[:, 0]) / (2 * math.pi) % 1
        return np.stack([angle, stats.norm.cdf(np.log(np.hypot(*x.T) / block.radius) / block.width)], axis=1)
    if isinstance(block, Banana):
        u = x[:, 0] / block.spread
        return stats.norm.cdf(np.stack([u, (x[:, 1] - block.bend * (u**2 - 1)) / block.width], axis=1))
    uniform, weight = [], np.full((len(x), len(block.centres)), 1 / len(block.centres))
    for coordinate, centres in zip(x.T, block.centres.T, strict=True):
        score = (coordinate[:, None] - centres) / block.width
        uniform.append((weight * stats.norm.cdf(score)).sum(axis=1))
        weight = weight * stats.norm.pdf(score)
        weight /= weight.sum(axis=1, keepdims=True)
    return np.stack(uniform, axis=1)


@each_block
def test_draws_of_a_block_follow_it(block: Block) -> None:
    uniform = rosenblatt(block, block.sample(20_000, np.random.default_rng(0)))
    assert all(map(follows, uniform.T))
    if block.dimension == 2:
        assert follows(uniform.sum(axis=1) % 1), "independent, too"


@each_dimension
def test_mean_log_density_of_draws_is_minus_entropy(name: str) -> None:
    law = known_density(name)
    log_p = law.log_prob(law.sample(20_000, np.random.default_rng(1)))
    assert law.dimension == DIMENSIONS[name]
    assert abs(log_p.mean() + law.entropy) < 5 * log_p.std() / math.sqrt(len(log_p))


def test_the_whole_integrates_to_one_by_importance_sampling() -> None:
    law = known_density("known-density-8")
    rng = np.random.default_rng(2)
    x = law.sample(20_000, rng)
    proposal = stats.multivariate_t(x.mean(axis=0), 1.3 * np.cov(x.T), df=8)
    drawn = proposal.rvs(100_000, random_state=rng)
    weights = np.exp(law.log_prob(drawn) - proposal.logpdf(drawn))
    error = weights.std() / math.sqrt(len(weights))
    assert error < 0.02
    assert abs(weights.mean() - 1) < 5 * error


@each_dimension
def test_hiding_is_undone_and_keeps_volume(name: str) -> None:
    law = known_density(name)
    y = np.random.default_rng(3).standard_normal((5, law.dimension))
    np.testing.assert_allclose(law.reveal(law.hide(y)), y, atol=1e-12)
    steps = 1e-5 * np.eye(law.dimension)
    jacobian = (law.hide(y[:1] + steps) - law.hide(y[:1] - steps)) / 2e-5
    assert np.linalg.slogdet(jacobian).logabsdet == pytest.approx(0, abs=1e-7)


def test_blocks_are_hidden_and_not_gaussian() -> None:
    """No coordinate is a block's own, and the Gaussian of the same covariance is far from the law."""
    law = known_density("known-density-8")
    x = law.sample(50_000, np.random.default_rng(4))
    gaussian = 0.5 * np.linalg.slogdet(2 * math.pi * math.e * np.cov(x.T)).logabsdet
    assert gaussian - law.entropy > 0.5  # nats that a Gaussian leaves
    assert np.abs(np.corrcoef(x.T, law.reveal(x).T)[:8, 8:]).max() < 0.99


def test_datasets_are_draws_of_the_law_and_name_it() -> None:
    dataset, again = load_dataset("known-density-8", None), load_dataset("known-density-8@1", None)
    assert (dataset.kind, dataset.shape, facts(dataset).log_det) == ("tabular", (8,), 0.0)
    assert dataset.digest != again.digest
    assert dataset.digest == load_dataset("known-density-8@0", None).digest
    law = known_density(facts(again).truth)
    assert law is known_density("known-density-8")
    assert facts(dataset).duplicates.total == 0
    log_p = law.log_prob(dataset.splits["test"])
    assert abs(log_p.mean() + law.entropy) < 5 * log_p.std() / 100
