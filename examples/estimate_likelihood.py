"""Estimate the test log-likelihood of a GEBM, with its bracket, on a base whose density is known.

The base is an affine flow, the data a mixture of two normals that it cannot follow; an energy makes up for it. log Z is estimated by
importance sampling and by annealed importance sampling. Both put the log-likelihood into a bracket [lower, upper], which the error of
log Z widens to an interval. In one dimension Z is also an integral that quadrature gives to many digits: the truth of the table. "of
the data" is the log-likelihood of the true density, which no model exceeds but by chance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from gebm.base import FlowBase, GaussianPrior
from gebm.model import GEBM
from gebm.objectives import Kale
from gebm.partition import Schedule, annealed_importance_sampling, importance_sampling, likelihood_bracket
from gebm.samplers import MALA
from gebm.training import DataStream, EnergyRefit, RefitSettings

TRUTH = MixtureSameFamily(
    Categorical(torch.tensor([0.7, 0.3])), Normal(torch.tensor([-1.0, 1.5]), torch.tensor([0.5, 0.4]))
)

SCHEDULE = Schedule(tuple(i / 10 for i in range(11)))


class AffineFlow(FlowBase):
    """x = m + sz, with the mean and standard deviation of the data: the best such flow by maximum likelihood."""

    def __init__(self, data: Tensor) -> None:
        layer = nn.Linear(1, 1)
        layer.weight.data.fill_(data.std())
        layer.bias.data.fill_(data.mean())
        super().__init__(layer, GaussianPrior(1))

    def log_prob(self, x: Tensor) -> Tensor:
        z = (x - self.network.bias) / self.network.weight
        return self.prior.log_prob(z) - self.network.weight.abs().log().sum()


def train(data: Tensor, held_out: Tensor) -> GEBM:
    base = AffineFlow(data).eval()
    energy = nn.Sequential(nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1), nn.Flatten(0))
    generator = torch.Generator().manual_seed(1)
    settings = RefitSettings(steps=2000, batch_size=256, learning_rate=2e-3, penalty=0.0)
    refit = EnergyRefit(base, energy, Kale(), DataStream(data, 256, generator), held_out, generator, settings)
    while refit.done < refit.total:
        refit.step()
    refit.finish()
    return GEBM(base, energy).eval().requires_grad_(False)


@torch.no_grad()
def quadrature(model: GEBM) -> float:
    """Return log Z = log ∫ exp(−E(x)) g(x) dx by the trapezoid rule."""
    x = torch.linspace(-12, 12, 20_001)
    return math.log(torch.trapezoid(model.log_prob(x[:, None], 0.0).double().exp(), x.double()).item())


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    with torch.enable_grad():
        model = train(TRUTH.sample((8_000, 1)), TRUTH.sample((2_000, 1)))
    test, generator = TRUTH.sample((10_000, 1)), torch.Generator().manual_seed(2)
    log_prob, energy = model.base.log_prob(test), model.energy(test)
    estimates = [
        importance_sampling(model.potential(), 50_000, generator),
        annealed_importance_sampling(model.potential(), MALA(0.2), SCHEDULE, 5_000, generator),
    ]
    log_partition = quadrature(model)
    truth = (log_prob - energy).mean().item() - log_partition
    print(f"{'log-likelihood, nats':42}{'lower':>9}{'upper':>9}{'95 % interval':>20}{'truth':>9}")
    for estimate in estimates:
        bracket = likelihood_bracket(log_prob, energy, estimate)
        low, high = bracket.interval()
        interval = f"[{low:.4f}, {high:.4f}]"
        print(f"{estimate.method:42}{bracket.lower:9.4f}{bracket.upper:9.4f}{interval:>20}{truth:9.4f}")
    print(
        f"base {bracket.base:.4f}, model {truth:.4f} ± {bracket.points_error:.4f}, of the data {TRUTH.log_prob(test).mean():.4f}"
    )


if __name__ == "__main__":
    main()
