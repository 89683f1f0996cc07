"""Sample a trained GEBM with three latent samplers, ULA, MALA and HMC, against the exact answer.

An affine base x = Wz + b and a quadratic energy make the latent posterior ν(z) ∝ η(z) exp(−E(Wz + b)) a Gaussian whose mean and
variances are known in closed form, whatever training found. A thousand chains run side by side. ULA has a bias that more steps do not
remove; MALA and HMC have none. Cost is in gradient evaluations per chain.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gebm.base import Base, GaussianPrior
from gebm.model import GEBM
from gebm.objectives import Kale
from gebm.samplers import HMC, MALA, ULA, Info, Sampler, chain
from gebm.training import DataStream, EnergyRefit, RefitSettings

CHAINS = 1000
SAMPLERS: dict[str, tuple[Sampler, int]] = {
    "ULA(0.2)": (ULA(0.2), 150),
    "MALA(0.2)": (MALA(0.2), 150),
    "HMC(0.3, L=3)": (HMC(0.3, 3), 50),
}


class Quadratic(nn.Module):
    """E = ½ ‖Rx‖² + k·x."""

    def __init__(self) -> None:
        super().__init__()
        self.root = nn.Parameter(0.1 * torch.eye(2))
        self.slope = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x @ self.root.T).square().sum(1) + x @ self.slope


def train() -> GEBM:
    """Train an energy that narrows and tilts the base to shifted, correlated data; the base stays as it is."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.2, 0.0], [0.3, 1.0]])
    layer.bias.data.zero_()
    data = torch.randn(8_000, 2, generator=generator) @ torch.tensor([[0.6, 0.3], [0.0, 0.5]]) + torch.tensor(
        [0.8, -0.4]
    )
    energy = Quadratic()
    settings = RefitSettings(steps=1000, batch_size=256, learning_rate=1e-2, penalty=0.0)
    stream = DataStream(data[:6_000], 256, generator)
    base = Base(layer, GaussianPrior(2)).eval()
    refit = EnergyRefit(base, energy, Kale(), stream, data[6_000:], generator, settings)
    while refit.done < refit.total:
        refit.step()
    refit.finish()
    return GEBM(base, energy).eval().requires_grad_(False)


def posterior(model: GEBM) -> tuple[Tensor, Tensor]:
    """Return mean and variances of ν: precision I + WᵀRᵀRW, mean −precision⁻¹ Wᵀ(RᵀRb + k)."""
    layer, energy = model.base.network, model.energy
    assert isinstance(layer, nn.Linear)
    assert isinstance(energy, Quadratic)
    curvature = energy.root.T @ energy.root
    covariance = torch.linalg.inv(torch.eye(2) + layer.weight.T @ curvature @ layer.weight)
    return -covariance @ layer.weight.T @ (curvature @ layer.bias + energy.slope), covariance.diag()


def main() -> None:
    model = train()
    mean, variance = posterior(model)
    print(
        f"{'':16}{'mean of z1':>11}{'mean of z2':>11}{'var of z1':>11}{'var of z2':>11}{'accepted':>10}{'gradients':>11}"
    )
    print(f"{'truth':16}" + "".join(f"{value:11.3f}" for value in [*mean.tolist(), *variance.tolist()]))
    for name, (sampler, steps) in SAMPLERS.items():
        generator = torch.Generator().manual_seed(1)
        accepted: list[Tensor] = []

        def record(_: int, info: Info, seen: list[Tensor] = accepted) -> None:
            seen.append(info.acceptance.mean())

        kept = range(steps // 5, steps + 1)  # the first fifth is warm-up
        z = model.base.prior.sample(CHAINS, generator)
        states = [
            (s.position.z, c) for _, s, c in chain(sampler, model.potential(), z, kept, generator, on_step=record)
        ]
        draws, cost = torch.cat([z for z, _ in states]), states[-1][1]
        values = "".join(f"{value:11.3f}" for value in [*draws.mean(0).tolist(), *draws.var(0).tolist()])
        print(f"{name:16}{values}{torch.stack(accepted).mean():10.2f}{cost.gradient_evaluations:11d}")


if __name__ == "__main__":
    main()
