"""Samples of a GEBM in one call, with what they cost and how far they can be trusted: `gebm.sample`.

The parts it is made of can be used alone: `gebm.samplers.chain` runs chains and keeps nothing, `gebm.diagnostics.record` keeps
their draws, `gebm.diagnostics.summarise` judges them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from gebm.checks import Count, Positive, Settings
from gebm.diagnostics import RHAT_LIMIT, Summary, Trace, record, summarise
from gebm.model import GEBM
from gebm.samplers import Cost, Sampler, StepSizeAdaptation

__all__ = ["Draws", "sample"]


@dataclass(frozen=True)
class _Length(Settings):
    """How many chains, how long, and what is kept of each."""

    n: Positive
    steps: Positive
    warmup: Count | None
    thin: Positive


@dataclass(frozen=True, repr=False)
class Draws:
    """Samples of a GEBM; printed, what they are worth.

    Arguments:
        x: G(z) at the end of each chain, (n, *shape).
        trace: latents and energies along the chains after warm-up, (draws, chains, …).
        summary: R-hat and effective sample sizes of E, ‖z‖² and the first latent coordinates along that trace.
        sampler: what moved the chains.
        cost: evaluations per sample, warm-up included.
    """

    x: Float[Tensor, "n ..."]
    trace: Trace
    summary: Summary
    sampler: Sampler
    cost: Cost

    @property
    def z(self) -> Float[Tensor, "n latent"]:
        """The latents of `x`."""
        return self.trace.z[-1]

    def __repr__(self) -> str:
        summary, count = self.summary, self.x.shape[0]
        rows = "".join(
            f"\n{each.name:<13}{each.mean:>10.4g}{each.standard_deviation:>10.4g}{each.rhat:>8.3f}{each.bulk_ess:>10,.0f}{each.tail_ess:>10,.0f}"
            for each in summary.quantities
        )
        verdict = (
            f"every R-hat is below {RHAT_LIMIT}"
            if summary.mixed
            else f"not every R-hat is below {RHAT_LIMIT}: run longer"
        )
        return (
            f"{count:,} samples of shape {tuple(self.x.shape[1:])}, a chain each of {self.sampler}\n"
            f"{self.cost.gradient_evaluations:,} gradient and {self.cost.forward_evaluations:,} forward evaluations per sample; "
            f"acceptance {summary.acceptance:.2f}; {summary.draws:,} states per chain are judged\n"
            f"{'':<13}{'mean':>10}{'sd':>10}{'R-hat':>8}{'bulk ESS':>10}{'tail ESS':>10}{rows}\n"
            f"{verdict}"
        )

    def to_arviz(self) -> Any:
        """Return the trace as an arviz `DataTree`: latents `z` and energies `E` in the group `posterior`.

        Raises:
            ImportError: if arviz-base, which every arviz from 1.0 on includes, is not installed.
        """
        try:
            from arviz_base import from_dict
        except ImportError:
            raise ImportError("to_arviz needs arviz 1.0 or newer: pip install 'gebm-bench[arviz]'") from None
        columns = {"z": self.trace.z.transpose(0, 1), "E": self.trace.energy.T}
        posterior = {name: values.detach().cpu().numpy() for name, values in columns.items()}
        attributes = {"sampler": str(self.sampler), **self.cost._asdict()}
        return from_dict(
            {"posterior": posterior}, dims={"z": ["latent"]}, attrs={"posterior": attributes}, check_conventions=False
        )


def sample(
    model: GEBM,
    sampler: Sampler,
    n: int,
    steps: int,
    generator: torch.Generator | int = 0,
    *,
    inverse_temperature: float = 1.0,
    warmup: int | None = None,
    thin: int = 1,
    start: Float[Tensor, "n latent"] | None = None,
) -> Draws:
    """Draw n samples of a GEBM, each the end of its own chain, and judge the chains that they come from.

    All chains run side by side on a copy of the model made for sampling (`GEBM.for_sampling`), so the model may be in any mode and
    is left as it is. The states after warm-up are kept: n · (steps − warmup) / thin latents. R-hat compares single chains: where each has
    few states it stays above its limit, however many chains there are.

    Arguments:
        model: what to sample; `gebm.targets` makes one of a log-density or of plain networks.
        sampler: one of `gebm.samplers`, perhaps in a `StepSizeAdaptation`.
        n: samples, which is chains.
        steps: of each chain.
        generator: source of all randomness, on the device of the model; or its seed.
        inverse_temperature: β; 1 is the model, 0 its base.
        warmup: steps that are not judged; by default half of them.
        thin: judge and keep one state in so many.
        start: where the chains begin; by default fresh latents of the prior.

    Raises:
        ValueError: in one line, if a length is not a whole number or leaves fewer than 4 states to judge, if `start` does not fit n, the
            prior or the precision of the model, or if warm-up ends before the step size is tuned.

    Example:
        >>> from gebm.samplers import MALA
        >>> from gebm.targets import from_log_density
        >>> normal = from_log_density(lambda z: -0.5 * ((z - 1) / 0.5).square().sum(1), 1)
        >>> draws = sample(normal, MALA(0.1), n=100, steps=1000)
        >>> draws.x.shape, draws.cost.gradient_evaluations, draws.summary.mixed
        (torch.Size([100, 1]), 1000, True)
        >>> print(f"{draws.trace.z.mean():.1f} ± {draws.trace.z.std():.1f}")
        1.0 ± 0.5
    """
    _Length(n, steps, warmup, thin)
    warmup = steps // 2 if warmup is None else warmup
    draws = (steps - warmup) // thin
    if draws < 4:
        raise ValueError(
            f"{steps} steps less {warmup} of warm-up, thinned by {thin}, leave {max(draws, 0)} states to judge; "
            "at least 4 are needed: more steps, or a shorter warmup"
        )
    if isinstance(sampler, StepSizeAdaptation) and warmup < sampler.warmup:
        raise ValueError(
            f"the step size is tuned for {sampler.warmup} steps, but warm-up ends after {warmup}; let warmup be {sampler.warmup} or more"
        )
    twin = model.for_sampling()
    device = next((p.device for p in twin.parameters()), torch.device("cpu"))
    if isinstance(generator, int):
        generator = torch.Generator(device).manual_seed(generator)
    if start is None:
        start = twin.base.prior.sample(n, generator, twin.base.dtype)
    elif start.dtype != twin.base.dtype or start.shape[0] != n:
        raise ValueError(
            f"start must have a row for each of {n} chains, in the model's {twin.base.dtype}; it has {start.shape[0]} rows of "
            f"{start.dtype}"
        )
    trace = record(
        sampler, twin.potential(inverse_temperature), start, draws, generator, warmup=steps - draws * thin, thin=thin
    )
    with torch.no_grad():
        x = twin.base(trace.z[-1])
    cost = Cost(*(before + after for before, after in zip(trace.warmup_cost, trace.cost, strict=True)))
    return Draws(x, trace, summarise(trace), sampler, cost)
