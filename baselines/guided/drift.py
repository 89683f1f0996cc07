"""What samplers without an acceptance rule share: the end of a move that follows a gradient."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from gebm.model import LatentPotential, Position
from gebm.samplers.kernel import Info, State
from gebm.samplers.moves import gradient_at, not_a_number, select
from gebm.samplers.tempering import prior_score

__all__ = ["arrive", "logit_gradient"]


def arrive(potential: LatentPotential, state: State, z: Float[Tensor, "batch latent"]) -> tuple[State, Info]:
    """Move every chain to z, one gradient evaluation; a chain whose energy or gradient there is not a number stays."""
    proposed = potential.with_gradient(z)
    invalid = not_a_number(proposed)
    info = Info((~invalid).to(z.dtype), 1, 0, invalid.long())
    return state._replace(position=select(~invalid, proposed, state.position)), info


def logit_gradient(potential: LatentPotential, position: Position) -> Float[Tensor, "batch latent"]:
    """Return β∇d(G(z)) = −β∇E(G(z)), from ∇U and without an evaluation."""
    return -gradient_at(position) - prior_score(potential.prior, position.z)
