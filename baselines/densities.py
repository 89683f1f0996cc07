"""Densities that are not flows, as sanity rows beside them: kernel density and Gaussian mixture, by scikit-learn.

A flow that loses to one of these has not been trained. What each has to choose is chosen on the validation rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from torch import Tensor

__all__ = ["BANDWIDTHS", "COMPONENTS", "Density", "gaussian_mixture", "kernel_density"]

BANDWIDTHS = tuple(float(width) for width in np.geomspace(0.05, 1.6, 16))
"""For standardised or whitened columns."""
MIXTURE_PARTS = ("weights", "means", "covariances", "precisions_cholesky")
COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 30)


class Density:
    """A fitted estimator of scikit-learn, with what was tried before it was chosen.

    Arguments:
        estimator: has `score_samples` and `sample`.
        choice: bandwidth, or number of components.
        tried: mean validation log-likelihood in nats of every choice.
    """

    def __init__(self, estimator: Any, choice: float | int, tried: Mapping[float | int, float]) -> None:
        self.estimator, self.choice, self.tried = estimator, choice, tried

    def log_prob(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, " batch"]:
        """Return the log-density in nats, in double precision."""
        return torch.from_numpy(self.estimator.score_samples(x.double().cpu().numpy())).to(x.device)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "batch features"]:
        """Draw `count` rows, in double precision."""
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        if isinstance(self.estimator, GaussianMixture):
            rows, _ = self.estimator.set_params(random_state=seed).sample(count)
        else:
            rows = self.estimator.sample(count, random_state=seed)
        return torch.from_numpy(rows).to(generator.device)

    def state(self) -> dict[str, Tensor]:
        """Return what the density is made of, as tensors."""
        if isinstance(self.estimator, GaussianMixture):
            return {name: torch.from_numpy(getattr(self.estimator, f"{name}_")) for name in MIXTURE_PARTS}
        rows = torch.from_numpy(np.array(self.estimator.tree_.data))
        return {"bandwidth": torch.tensor(self.estimator.bandwidth, dtype=torch.float64), "rows": rows}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Density:
        """Rebuild the density from its `state`, without what was tried."""
        if "rows" in state:
            width = float(state["bandwidth"])
            return cls(KernelDensity(bandwidth=width).fit(state["rows"].cpu().numpy()), width, {})
        mixture = GaussianMixture(len(state["weights"]))
        for name in MIXTURE_PARTS:
            setattr(mixture, f"{name}_", state[name].cpu().numpy())
        return cls(mixture, mixture.n_components, {})


def kernel_density(
    train: Float[Tensor, "rows features"],
    validation: Float[Tensor, "held features"],
    bandwidths: Sequence[float] = BANDWIDTHS,
) -> Density:
    """Fit a Gaussian kernel on every training row, with one bandwidth for all directions.

    Arguments:
        train: the rows.
        validation: choose the bandwidth.
        bandwidths: to choose from, in the units of the rows.

    Raises:
        ValueError: if there is nothing to choose from, or no choice has a finite validation value.
    """
    return _best({width: KernelDensity(bandwidth=width) for width in bandwidths}, train, validation)


def gaussian_mixture(
    train: Float[Tensor, "rows features"],
    validation: Float[Tensor, "held features"],
    generator: torch.Generator,
    components: Sequence[int] = COMPONENTS,
) -> Density:
    """Fit a mixture of Gaussians with full covariances, by expectation–maximisation from k-means.

    Arguments:
        train: the rows.
        validation: choose the number of components.
        generator: seeds k-means.
        components: numbers to choose from; those above the number of rows are left out.

    Raises:
        ValueError: if there is nothing to choose from, or no choice has a finite validation value.
    """
    seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    mixtures = {
        count: GaussianMixture(count, reg_covar=1e-4, max_iter=200, random_state=seed)
        for count in components
        if count <= train.shape[0]
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # validation judges where it stopped
        return _best(mixtures, train, validation)


def _best(estimators: dict[Any, Any], train: Tensor, validation: Tensor) -> Density:
    fitted, held = train.double().cpu().numpy(), validation.double().cpu().numpy()
    tried = {
        choice: float(estimator.fit(fitted).score_samples(held).mean()) for choice, estimator in estimators.items()
    }
    finite = [choice for choice, value in tried.items() if np.isfinite(value)]
    if not finite:
        raise ValueError("there is no choice with a finite validation value; give others to choose from")
    choice = max(finite, key=tried.__getitem__)
    return Density(estimators[choice], choice, tried)
