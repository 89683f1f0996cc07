"""What a trained energy says of its own density: base draws with their energies, the calibrated temperature, what chains are aimed at.

Everything is computed once per model and shared by its readouts. Draws come from the stream of log Z, which training never sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from bench.core.model import gebm_of
from bench.core.readout import Context
from bench.images.models import AT_ONCE, prepared
from bench.images.suite import CALIBRATED, EnergyReadout
from gebm.diagnostics import rhat
from gebm.model import GEBM
from gebm.partition import AnnealedLevel, annealed_path
from gebm.samplers import MALA
from gebm.temperature import Gain, Temperature, calibrate, gain, weighted_moments

__all__ = ["Energies", "TargetVerdict", "energies_of", "judge_target"]

ISLANDS = 32
FIRST_STEP = 0.05  # of MALA, before the pilot run tunes it
TOLERANCE = 0.05  # of the distance between the mean energies of base and target
TRACED = 512  # chains that R-hat is taken over
MIXED = 1.1  # R-hat of the energy over chains
PATH_LEVELS = 60  # where annealing gives up

Verdict = Literal["at its target", "on its way", "cannot tell"]


class Energies:
    """The energies of one model at base draws and at real data, and what follows from them.

    Arguments:
        context: the trained model, with an energy.
        readout: how many draws, which β.
    """

    def __init__(self, context: Context, readout: EnergyReadout) -> None:
        self.context, self.model = context, context.model
        self.gebm: GEBM = gebm_of(context.model).for_sampling()
        self.first, self.betas = readout.partition_samples, readout.betas
        self.particles = readout.annealing
        self.generator = self.model.random_stream("log-partition")
        self.judge = self.base_energies(self.first, self.model.random_stream("log-partition-admission"))[1]
        self.z = torch.empty(0, self.gebm.base.prior.dimension, device=self.model.device)
        self.energy = torch.empty(0, dtype=torch.float64, device=self.model.device)
        self.annealed_at: set[float] = set()
        self.levels: dict[float, AnnealedLevel] = {}
        self.splits: dict[str, Tensor] = {}
        self.grow(self.first)
        self.temperature: Temperature = calibrate(self.of_data("validation"), self.energy, self.judge)

    def grow(self, count: int) -> None:
        """Draw from the base until there are `count` draws."""
        z, energy = self.base_energies(count - len(self.z), self.generator)
        self.z, self.energy = torch.cat([self.z, z]), torch.cat([self.energy, energy])

    @torch.no_grad()
    def base_energies(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return draws from the prior, and the energies of what the base makes of them."""
        zs = [self.gebm.base.prior.sample(min(AT_ONCE, count - i), generator) for i in range(0, count, AT_ONCE)]
        return torch.cat(zs), torch.cat([self.gebm.energy(self.gebm.base(z)).double() for z in zs])

    @torch.no_grad()
    def of_data(self, split: str) -> Float[Tensor, " n"]:
        """Return E on a split of real data."""
        if split not in self.splits:
            batches = torch.split(prepared(self.model, split), AT_ONCE)
            self.splits[split] = torch.cat([self.gebm.energy(batch).double() for batch in batches])
        return self.splits[split]

    def beta(self, asked: float | str) -> float:
        """Return the inverse temperature asked for, β̂ for "calibrated"."""
        return self.temperature.beta if isinstance(asked, str) else asked

    def reliable(self, beta: float) -> bool:
        """Whether weighted base draws may stand for the density at β."""
        return self.gain(beta).reportable

    def gain(self, beta: float) -> Gain:
        """Return the gain on the test split at β, its log Ẑ admitted by draws of their own."""
        return gain(self.of_data("test"), self.energy[: self.first], beta, self.judge)

    def annealed(self, beta: float) -> AnnealedLevel | None:
        """Return annealed particles at β > 0, if that β was reached; one run serves every β of interest."""
        if self.particles and beta not in self.annealed_at:
            self.annealed_at |= {each for each in (*self.betas, self.temperature.beta, beta) if each}
            self.context.progress({"phase": "annealing"})
            found = annealed_path(
                self.gebm.potential(),
                MALA(FIRST_STEP),
                sorted(self.annealed_at),
                self.particles,
                self.model.random_stream("annealing"),
                islands=ISLANDS,
                most_levels=PATH_LEVELS,
            )
            self.levels = {level.beta: level for level in found}
        return self.levels.get(beta)

    def mean_energy(self, beta: float) -> tuple[float, float] | None:
        """Return the mean of E under the density at β and its standard error; None where nothing here can say."""
        if self.reliable(beta):
            mean, _, error = weighted_moments(self.energy[: self.first], beta)
            return mean, error
        level = self.annealed(beta)
        return level.mean_energy() if level is not None and level.rough else None


def energies_of(context: Context, readout: EnergyReadout) -> Energies:
    """Return what is known of the model's energies, computed once for all readouts.

    Raises:
        TypeError: for a model without an energy.
    """
    key = ("energies", readout.partition_samples, readout.annealing, readout.betas)
    return context.once(key, lambda: Energies(context, readout))


@dataclass(frozen=True)
class TargetVerdict:
    """Whether a chain has reached the density it is aimed at, by its mean energy.

    Arguments:
        verdict: see `judge_target`.
        covered: of the distance between the mean energies of base and target, the share that the chain has gone; None where unknown.
        facts: what it rests on, for the result's row.
    """

    verdict: Verdict
    covered: float | None
    facts: dict[str, Any]


def judge_target(
    chain: Float[Tensor, "draws chains"],
    base: Float[Tensor, " base"],
    target: tuple[float, float] | None,
    invalid: int,
) -> TargetVerdict:
    """Judge a chain's energies against the target's mean.

    *At its target*: the last mean energy is within its error, or within a twentieth of the way, and R-hat over the chains, which started at
    base draws, is below 1.1. *On its way*: it is not there yet. *Cannot tell*: the target's mean is unknown, moves were invalid, the
    mean lies beyond the target's, or it agrees while the chains do not.

    Arguments:
        chain: E along the second half of each chain, the present draw last.
        base: E at base draws.
        target: mean of E under the target and its standard error, or None.
        invalid: candidates refused because their energy was not a number.
    """
    now, start = chain[-1].double(), float(base.mean())
    mean, mixing = float(now.mean()), rhat(chain[:, :TRACED]) if chain.shape[0] >= 4 else math.nan
    facts: dict[str, Any] = {"energy": mean, "base_energy": start, "invalid": invalid}
    facts["rhat"] = mixing if math.isfinite(mixing) else None
    if target is None:
        why = "nothing here gives the target's mean energy"
        return TargetVerdict("cannot tell", None, facts | {"why": why})
    goal, goal_error = target
    facts |= {"target_energy": goal, "target_error": goal_error}
    error = math.hypot(goal_error, float(now.std()) / math.sqrt(len(now)))
    distance, off = start - goal, mean - goal
    covered = (start - mean) / distance if abs(distance) > 3 * error else None
    facts["covered"] = covered
    if invalid:
        return TargetVerdict("cannot tell", covered, facts | {"why": f"{invalid:,} moves were invalid"})
    if abs(off) <= max(3 * error, TOLERANCE * abs(distance)):
        if mixing < MIXED:
            return TargetVerdict("at its target", covered, facts)
        why = "its mean energy agrees with the target's, but its chains have not mixed"
        return TargetVerdict("cannot tell", covered, facts | {"why": why})
    if off > 0:
        return TargetVerdict("on its way", covered, facts)
    why = "its mean energy lies beyond the target's: the step size is too large, or chains are stuck"
    return TargetVerdict("cannot tell", covered, facts | {"why": why})


def beta_rule(asked: float | str) -> str:
    """Return the rule by which a β was had: "fixed", or "calibrated"."""
    return CALIBRATED if isinstance(asked, str) else "fixed"
