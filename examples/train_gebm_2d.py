"""Train a GEBM on two-dimensional data: an affine base, which can only be a Gaussian, and an energy that makes four modes of it.

The data are a mixture of four normals, so what is true of them is known. The base and the energy are trained in alternation, the energy is
refitted on the finished base, and the model is sampled by MALA chains in latent space. No energy can gain more over the base than
KL(P‖G) nats, the truth of the last row; the base itself gains nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from gebm.base import Base, GaussianPrior
from gebm.model import GEBM
from gebm.objectives import Kale, likelihood_gain
from gebm.partition import importance_sampling
from gebm.samplers import MALA, chain
from gebm.training import AlternatingTraining, DataStream, EnergyRefit, RefitSettings, TrainingSettings

CENTRES = torch.tensor([[1.5, 1.5], [-1.5, 1.5], [-1.5, -1.5], [1.5, -1.5]])
TRUTH = MixtureSameFamily(Categorical(torch.tensor([0.4, 0.3, 0.2, 0.1])), Independent(Normal(CENTRES, 0.5), 1))


def train(data: Tensor, held_out: Tensor) -> GEBM:
    base = Base(nn.Linear(2, 2), GaussianPrior(2))
    energy = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1), nn.Flatten(0))
    objective, generator = Kale(), torch.Generator().manual_seed(1)
    settings = TrainingSettings(
        base_steps=1000,
        batch_size=256,
        n_critic=2,
        learning_rate=5e-3,
        energy_learning_rate=2e-3,
        betas=(0.5, 0.9),
        penalty=0.02,
        ema=0.99,
        decay="cosine",
    )
    training = AlternatingTraining(base, energy, objective, DataStream(data, 256, generator), generator, settings)
    while training.done < training.total:
        training.step()
    finished = training.finish()
    refit_settings = RefitSettings(steps=1500, batch_size=256, learning_rate=2e-3, penalty=0.0, patience=5)
    stream = DataStream(data, 256, generator)
    refit = EnergyRefit(finished, energy, objective, stream, held_out, generator, refit_settings)
    while refit.done < refit.total:
        refit.step()
    return GEBM(finished, refit.finish()).eval()


def summary(x: Tensor) -> dict[str, float]:
    share = torch.cdist(x, CENTRES).argmin(1).bincount(minlength=4) / len(x)
    near = (torch.cdist(x, CENTRES).min(1).values < 1).float().mean()
    shares = {f"share of mode {i + 1}": share[i].item() for i in range(4)}
    return shares | {"within 2 sd of a mode": near.item()}


@torch.no_grad()
def gains(model: GEBM, generator: torch.Generator) -> tuple[float, float]:
    """Return the energy's likelihood gain over the base on fresh data, and KL(P‖G)."""
    x = TRUTH.sample((20_000,))
    layer = model.base.network
    assert isinstance(layer, nn.Linear)
    gaussian = MultivariateNormal(layer.bias, layer.weight @ layer.weight.T)
    log_partition = importance_sampling(model.potential(), 20_000, generator).estimate
    kl = (TRUTH.log_prob(x) - gaussian.log_prob(x)).mean().item()
    return likelihood_gain(model.energy(x), log_partition).item(), kl


def main() -> None:
    torch.manual_seed(0)
    model = train(TRUTH.sample((10_000,)), TRUTH.sample((2_000,)))
    generator = torch.Generator().manual_seed(2)
    z = model.base.prior.sample(5_000, generator)
    base, *_, samples = [
        model.base(s.position.z) for _, s, _ in chain(MALA(0.1), model.potential(), z, [0, 300], generator)
    ]
    rows = zip(
        summary(TRUTH.sample((100_000,))).items(), summary(base).values(), summary(samples).values(), strict=True
    )
    print(f"{'':24}{'base':>8}{'GEBM':>8}{'truth':>8}")
    for (name, truth), of_base, of_model in rows:
        print(f"{name:24}{of_base:8.3f}{of_model:8.3f}{truth:8.3f}")
    gain, kl = gains(model, generator)
    print(f"{'likelihood gain (nats)':24}{0:8.3f}{gain:8.3f}{kl:8.3f}")


if __name__ == "__main__":
    main()
