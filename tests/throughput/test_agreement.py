"""A fast path counts only if its samples have the law of the plain path's: two-sample tests, untimed.

The chains of a comparison are independent of each other (their own seeds). `LEVEL` is the false-alarm rate of one comparison, all of
its statistics together (Bonferroni), were the seeds drawn anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from bench.track.timed.agreement import mean_gradient, statistics, unequal
from bench.track.timed.targets import beta_for, sngan
from gebm import GEBM
from gebm.samplers import HMC, MALA, ULA, Sampler, chain

from .conftest import Plain, leaps

LEVEL = 1e-3
CHAINS, LATENT, WIDTH = 600, 8, 4
SPREAD = 3.0  # nats: the energy moves its own law by about as many of its standard deviations


RULES: dict[str, tuple[Sampler, int]] = {"ULA": (ULA(0.1), 15), "MALA": (MALA(0.2), 10), "HMC": (HMC(0.3, 3), 3)}
"""Samplers, and how many steps to compare after."""


class Outcome(NamedTuple):
    """Where the chains of one path ended, and their mean acceptance along the way."""

    z: Tensor
    acceptance: Tensor


def differing(model: GEBM, first: Outcome, second: Outcome) -> list[str]:
    """The statistics in which two sets of chains differ at LEVEL (Kolmogorov–Smirnov): those of `agreement`, and the acceptance."""
    slope = mean_gradient(model, torch.cat([first.z, second.z]))
    one, other = (statistics(model, each.z, slope) | {"acceptance": each.acceptance} for each in (first, second))
    return unequal(one, other, LEVEL)


@pytest.fixture(scope="module")
def model() -> GEBM:
    return sngan(WIDTH, LATENT, (3, 8, 8)).eval()


@pytest.fixture(scope="module")
def beta(model: GEBM) -> float:
    return beta_for(model, SPREAD, "cpu")


@pytest.fixture(scope="module")
def plain(model: GEBM, beta: float) -> dict[str, Outcome]:
    """The plain path's chains under every rule."""
    implementation, outcomes = Plain(model, beta), {}
    for name, (sampler, steps) in RULES.items():
        generator = torch.Generator().manual_seed(1)
        z = model.base.prior.sample(CHAINS, generator)
        acceptance = torch.zeros(CHAINS)
        for _ in range(steps):
            z, accepted = implementation.step(sampler, z, generator)
            acceptance += accepted
        outcomes[name] = Outcome(z, acceptance)
    model.zero_grad(set_to_none=True)
    return outcomes


def run(model: GEBM, beta: float, sampler: Sampler, steps: int) -> Outcome:
    """The library's chains on a model."""
    generator = torch.Generator().manual_seed(2)
    z, acceptance = model.base.prior.sample(CHAINS, generator), torch.zeros(CHAINS)

    def add(_: int, info: Any) -> None:
        acceptance.add_(info.acceptance)

    ((_, state, _),) = chain(sampler, model.potential(beta), z, [steps], generator, on_step=add)
    return Outcome(state.position.z, acceptance)


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", RULES)
def test_samples_agree_with_the_plain_path(
    name: str, dtype: torch.dtype | None, model: GEBM, beta: float, plain: dict[str, Outcome]
) -> None:
    fast = run(model.for_sampling(dtype=dtype), beta, *RULES[name])
    assert differing(model, plain[name], fast) == []


def test_a_target_a_third_colder_is_found_out(model: GEBM, beta: float, plain: dict[str, Outcome]) -> None:
    """What the comparison can see: of four seeds each, a third colder was found every time, a fifth colder mostly, not always."""
    assert "energy" in differing(model, plain["ULA"], run(model.for_sampling(), 4 / 3 * beta, *RULES["ULA"]))


@pytest.mark.parametrize("name", RULES)
def test_the_library_asks_for_one_gradient_a_proposal_or_leapfrog(name: str, model: GEBM) -> None:
    """Counted at the base of both; the plain implementation asks for what it says it does."""
    calls: list[bool] = []
    twin = model.for_sampling()
    for base in (twin.base, model.base):
        base.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].requires_grad))
    sampler, generator = RULES[name][0], torch.Generator().manual_seed(0)
    potential, z = twin.potential(), torch.randn(2, LATENT)
    state = sampler.init(potential, z)
    calls.clear()
    sampler.step(potential, state, generator)
    assert calls == [True] * leaps(sampler)
    calls.clear()
    plain = Plain(model, 1.0)
    plain.step(sampler, z, generator)
    assert calls == [True] * plain.gradient_evaluations(sampler)
