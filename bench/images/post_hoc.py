"""GANs whose second network is put to use afterwards: their own discriminator as the energy, or a KALE energy fitted on the frozen base.

A GAN with an energy is a GEBM; whether training both together adds anything is read from these against `gebm`. The base is that of the
model's own run, trained once and shared by all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from bench.core.model import load_objective
from bench.core.session import Session
from bench.images.models import LatentModel
from gebm.components import component

__all__ = ["PostHocModel"]


@component(
    "models",
    "gebm+refit",
    "a KALE energy fitted from scratch on the GEBM's frozen base",
    base="gebm",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-hinge+refit",
    "a KALE energy fitted from scratch on the hinge GAN's frozen base",
    base="gan-hinge",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-ns+refit",
    "a KALE energy fitted from scratch on the non-saturating GAN's frozen base",
    base="gan-ns",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "wgan-gp+refit",
    "a KALE energy fitted from scratch on the Wasserstein GAN's frozen base",
    base="wgan-gp",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-hinge+own",
    "the discriminator of the hinge GAN as the energy",
    base="gan-hinge",
    energy="own",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-ns+own",
    "the discriminator of the non-saturating GAN as the energy",
    base="gan-ns",
    energy="own",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "wgan-gp+own",
    "the discriminator of the Wasserstein GAN as the energy",
    base="wgan-gp",
    energy="own",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-hinge+warm",
    "a KALE energy on the hinge GAN's frozen base, fitted from its discriminator on",
    base="gan-hinge",
    energy="warm",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-ns+warm",
    "a KALE energy on the non-saturating GAN's frozen base, fitted from its discriminator on",
    base="gan-ns",
    energy="warm",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gan-ns+time+refit",
    "a KALE energy fitted from scratch on the longer-trained non-saturating GAN's frozen base",
    base="gan-ns+time",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gebm-dv+refit",
    "a KALE energy fitted from scratch on the frozen base of gebm-dv",
    base="gebm-dv",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gebm-dv-ma+refit",
    "a KALE energy fitted from scratch on the frozen base of gebm-dv-ma",
    base="gebm-dv-ma",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gebm-cd+refit",
    "a KALE energy fitted from scratch on the frozen base of gebm-cd",
    base="gebm-cd",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "gebm-frozen-base+refit",
    "a KALE energy fitted from scratch on the untrained base of gebm-frozen-base",
    base="gebm-frozen-base",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "sngan+refit",
    "a KALE energy fitted from scratch on the published SNGAN's frozen base",
    base="sngan",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "wgan-gp-published+refit",
    "a KALE energy fitted from scratch on the published Wasserstein GAN's frozen base",
    base="wgan-gp-published",
    energy="refit",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "wgan-gp+warm",
    "a KALE energy on the Wasserstein GAN's frozen base, fitted from its discriminator on",
    base="wgan-gp",
    energy="warm",
    objective="kale",
    has_energy=True,
)
@component(
    "models",
    "sngan+warm",
    "a KALE energy on the published SNGAN's frozen base, fitted from its discriminator on",
    base="sngan",
    energy="warm",
    objective="kale",
    has_energy=True,
)
class PostHocModel(LatentModel):
    """The base of another model's run with an energy: the run's own second network (`own`), or one fitted by KALE on the frozen base, from
    fresh weights (`refit`) or from that network's (`warm`).

    Settings: `base`, the other model with its settings; `energy`, `network`, `refit`.
    """

    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the base, and for `own` and `warm` its second network.

        Raises:
            ValueError: if the run was kept without its second network.
        """
        parts = {part: _part(state, part) for part in ("base", "energy")}
        self.base.load_state_dict(parts["base"])
        self.base.eval().requires_grad_(False)
        if self.spec.config["energy"] == "refit":
            return
        if not parts["energy"]:
            name = self.spec.config["base"]["model"]
            raise ValueError(
                f"the run of {name} was kept without its discriminator; `bench run --retrain` trains it again"
            )
        self.discriminator.load_state_dict(parts["energy"])

    def steps(self) -> int:
        refit = self.spec.config["refit"]
        return int(refit["steps"]) if refit else 0

    def fit(self, session: Session) -> None:
        if self.spec.config["refit"]:
            self.refit(session, load_objective(self.spec.config, self.device))
        self.freeze()


def _part(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Return the weights of one part, by their names in it."""
    own = f"{part}."
    return {name.removeprefix(own): value for name, value in state.items() if name.startswith(own)}
