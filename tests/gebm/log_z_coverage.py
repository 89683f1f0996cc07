"""How often 95 % intervals of log Z hold the truth: `python tests/gebm/log_z_coverage.py 200 > results/density/log-z.md`.

Every case has a log Z in closed form. Pilots are run once and frozen, as a readout does; repeats differ in everything else. A few repeats
of the same cases are a test (`test_log_z_coverage.py`).
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.model import LatentPotential
from gebm.networks.flow_critic import ContractedCritic
from gebm.partition import (
    LogPartition,
    Schedule,
    adaptive_schedule,
    annealed_importance_sampling,
    importance_sampling,
    log_partition_from_weights,
    reverse_annealing,
    sequential_monte_carlo,
)
from gebm.samplers import MALA

FIRST_STEP, MOVES = MALA(0.05), 5
HEADER = """| case | estimator | covered, all | covered, reported | refused | bias | standard error, mean | spread of the estimates |
|---|---|---:|---:|---:|---:|---:|---:|"""

Generator = torch.Generator


class Case(NamedTuple):
    """A law whose log Z is known, an estimator, and that log Z."""

    law: str
    estimator: str
    estimate: Callable[[Generator], LogPartition]
    truth: float


class Coverage(NamedTuple):
    """What repeats of a case say; shares of all repeats, and of those reported (NaN without any)."""

    covered: float
    covered_reported: float
    refused: float
    bias: float
    standard_error: float
    spread: float


class Gaussian(nn.Module):
    """E = ½‖s ∘ z − y‖² on N(0, I): the posterior is Gaussian and log Z = −½ Σ (log(1 + s²) + y²/(1 + s²))."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.scales, self.observed = torch.linspace(1, 5, dimension), 1.5

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (self.scales * x - self.observed).square().sum(1)

    @property
    def log_partition(self) -> float:
        variances = 1 + self.scales.double().square()
        return -0.5 * float((variances.log() + self.observed**2 / variances).sum())

    def draw(self, count: int, generator: Generator) -> Tensor:
        """Draw from the posterior."""
        variances = 1 + self.scales.square()
        noise = torch.randn(count, len(self.scales), generator=generator)
        return self.scales * self.observed / variances + noise / variances.sqrt()


def critic(dimension: int) -> ContractedCritic:
    """A contracted critic of the identity, as hard as the one of the density suite: its log Z is 0."""
    root = math.sqrt(dimension)
    return ContractedCritic(lambda x: (x, x[:, 0]), torch.full((dimension,), 1.5 / root), root / (root + 1))


def potential(energy: nn.Module, dimension: int) -> LatentPotential:
    """An energy on N(0, I)."""
    return LatentPotential(Base(nn.Identity(), GaussianPrior(dimension)), energy)


@functools.cache
def pilot(law: LatentPotential, ess_fraction: float, tune: bool) -> Schedule:
    """One pilot, frozen for all repeats; without tuning with one move a level, as estimates of log Z once were made."""
    generator, moves = torch.Generator().manual_seed(99), MOVES if tune else 1
    return adaptive_schedule(law, FIRST_STEP, 512, generator, ess_fraction=ess_fraction, moves=moves, tune=tune)


def important(law: LatentPotential, generator: Generator, draws: int) -> LogPartition:
    first, second = (importance_sampling(law, draws, generator) for _ in range(2))
    return first.admitted_by(second)


def annealed(law: LatentPotential, generator: Generator, chains: int, tune: bool = True) -> LogPartition:
    levels, moves = pilot(law, 0.9, tune), MOVES if tune else 1
    first, second = (
        annealed_importance_sampling(law, FIRST_STEP, levels, chains, generator, moves=moves) for _ in range(2)
    )
    return first.admitted_by(second)


def sequential(law: LatentPotential, generator: Generator, particles: int, tune: bool = True) -> LogPartition:
    levels = pilot(law, 0.5, tune)
    return sequential_monte_carlo(law, FIRST_STEP, levels, particles, generator, moves=MOVES if tune else 1)


def reversed_from_exact(law: LatentPotential, generator: Generator, chains: int) -> LogPartition:
    assert isinstance(law.network, Gaussian)
    levels = pilot(law, 0.9, True)
    first, second = (
        reverse_annealing(law, FIRST_STEP, levels, law.network.draw(chains, generator), generator, moves=MOVES)
        for _ in range(2)
    )
    return first.admitted_by(second)


def lognormal(generator: Generator, sigma: float) -> LogPartition:
    """Weights exp(σζ − σ²/2), 2,000 for the estimate and as many that admit it."""
    first, second = (
        log_partition_from_weights(
            sigma * torch.randn(2000, generator=generator, dtype=torch.float64) - sigma**2 / 2, "weights", 0, 0
        )
        for _ in range(2)
    )
    return first.admitted_by(second)


def cases() -> list[Case]:
    """Return every case."""
    found = [
        Case(
            f"log-normal weights, σ = {sigma:g}",
            "importance sampling, M = 2,000",
            functools.partial(lognormal, sigma=sigma),
            0.0,
        )
        for sigma in (0.5, 1.0, 2.0, 2.5)
    ]
    laws: list[tuple[str, LatentPotential, float]] = []
    for dimension in (2, 20):
        gaussian, bounded = Gaussian(dimension), critic(dimension)
        laws.append((f"linear-Gaussian, d = {dimension}", potential(gaussian, dimension), gaussian.log_partition))
        laws.append((f"bounded critic, d = {dimension}", potential(bounded, dimension), bounded.log_partition))
    for name, law, truth in laws:
        estimators: dict[str, Callable[[Generator], LogPartition]] = {
            "importance sampling, M = 20,000": functools.partial(important, law, draws=20_000),
            "AIS, 2,048 chains": functools.partial(annealed, law, chains=2048),
            "AIS, 2,048 chains, one untuned move": functools.partial(annealed, law, chains=2048, tune=False),
            "SMC, 32 islands of 64": functools.partial(sequential, law, particles=64),
            "SMC, 32 islands of 64, one untuned move": functools.partial(sequential, law, particles=64, tune=False),
        }
        if isinstance(law.network, Gaussian):
            estimators["reverse annealing, 2,048 exact draws"] = functools.partial(
                reversed_from_exact, law, chains=2048
            )
        found += [Case(name, estimator, estimate, truth) for estimator, estimate in estimators.items()]
    return found


def coverage(case: Case, repeats: int) -> Coverage:
    """What `repeats` repeats of a case say, with the seeds from 0 on."""
    estimates = [case.estimate(torch.Generator().manual_seed(seed)) for seed in range(repeats)]
    covered = [low <= case.truth <= high for low, high in (each.interval() for each in estimates)]
    reported = [hit for hit, each in zip(covered, estimates, strict=True) if each.reportable]
    values = torch.tensor([each.estimate for each in estimates], dtype=torch.float64)
    return Coverage(
        sum(covered) / repeats,
        sum(reported) / len(reported) if reported else math.nan,
        1 - len(reported) / repeats,
        float(values.mean()) - case.truth,
        sum(each.standard_error for each in estimates) / repeats,
        float(values.std()),
    )


def table(repeats: int) -> str:
    """Every case as a row of markdown."""
    rows = [HEADER]
    for case in cases():
        found = coverage(case, repeats)
        shares = ["—" if math.isnan(share) else f"{share:.3f}" for share in found[:3]]
        numbers = [f"{number:.3f}".replace("-", "−") for number in found[3:]]
        rows.append(f"| {' | '.join([case.law, case.estimator, *shares, *numbers])} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Print the table of as many repeats as are asked for."""
    torch.set_num_threads(1)
    sys.stdout.write(table(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
