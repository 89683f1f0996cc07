"""A generator that was trained elsewhere: taken into the store as a run of its own, from which an energy can be fitted.

Its network is the suite's, with weights from a file, or one that a function of the user's returns. Whoever takes it in (`bench refit`)
checks it first; the run's checkpoint holds the weights, so that later readouts need no file.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.components.registry import in_one_line
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.data import Dataset
from bench.images.models import LatentModel
from bench.images.post_hoc import PostHocModel
from gebm.base import Base, GaussianPrior
from gebm.components import component

__all__ = ["GeneratorError", "OwnGenerator", "OwnGeneratorRefit", "checked", "imported", "with_weights"]

ROUNDING = 1e-5  # beyond ±1
TRIAL = 256  # latents
SHOWN = 3  # names of weights in an error


class GeneratorError(ValueError):
    """A generator that cannot be the base of an energy as it is."""


@component(
    "models",
    "own-generator",
    "your own generator, trained elsewhere; see `bench refit`",
    has_energy=False,
    trained_by="elsewhere",
)
class OwnGenerator(LatentModel):
    """A base whose weights were trained elsewhere.

    Settings: `network` (the suite's, with the generator's latent dimension), `generator` (`module:name` if it is not that network's),
    `weights` (their digest).
    """

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.base = _own_base(self.base, spec.config).to(device)

    def modules(self) -> Mapping[str, nn.Module]:
        return {"base": self.base}

    def certified(self) -> Mapping[str, tuple[nn.Module, tuple[int, ...] | None]]:
        return {"generator": (self.base.network, (self.latent,))}

    def steps(self) -> int:
        return 0

    def fit(self, session: Session) -> None:  # noqa: ARG002 (there is nothing to drive)
        """Nothing can be trained.

        Raises:
            ValueError: always.
        """
        raise ValueError("the store has lost the weights of this generator; `bench refit` with it puts them back")


@component(
    "models",
    "own-generator+refit",
    "a KALE energy fitted from scratch on your own generator",
    base="own-generator",
    energy="refit",
    objective="kale",
    has_energy=True,
)
class OwnGeneratorRefit(PostHocModel):
    """A KALE energy on the generator of an `OwnGenerator`."""

    def __init__(self, spec: RunSpec, dataset: Dataset, streams: Streams, device: torch.device) -> None:
        super().__init__(spec, dataset, streams, device)
        self.base = _own_base(self.base, spec.config["base"]["config"]).to(device)


def _own_base(base: Base, config: Mapping[str, Any]) -> Base:
    """Return the base with the user's own network, where the settings name one."""
    return Base(imported(config["generator"]), base.prior) if "generator" in config else base


def imported(name: str) -> nn.Module:
    """Return what the function or class `module:name` makes without arguments.

    Raises:
        GeneratorError: if it cannot be imported, fails, or makes no module.
    """
    module, _, attribute = name.partition(":")
    try:
        made = getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        raise GeneratorError(f"{name}: {error}; install its package, or put its folder in PYTHONPATH") from error
    except Exception as error:
        raise GeneratorError(f"{name}: {in_one_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise GeneratorError(f"{name} makes a {type(made).__name__}; it must make a torch.nn.Module")
    return made


def with_weights(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Return the network with the weights of a file: its own names, or these after `base.network.` or `network.`.

    Raises:
        GeneratorError: naming the weights that are missing, not the network's, or of another shape.
    """
    for prefix in ("base.network.", "network."):
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            break
    own = network.state_dict()
    shapes = (
        f"{name} (is {_by(state[name])}, must be {_by(value)})"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    )
    problems = {
        "missing": [name for name in own if name not in state],
        "of another shape": list(shapes),
        "unknown": [name for name in state if name not in own],
        "in float64": [name for name, value in state.items() if value.dtype == torch.float64],
    }
    words = [f"{what}: {_some(names)}" for what, names in problems.items() if names]
    if words:
        raise GeneratorError(f"the weights do not fit the suite's generator; {'; '.join(words)}")
    network.load_state_dict(dict(state))
    return network


def checked(network: nn.Module, latent: int, shape: tuple[int, ...]) -> nn.Module:
    """Return the network in evaluation mode, after a trial on latents of N(0, I).

    Raises:
        GeneratorError: if it does not take such latents, or makes no float32 images of that shape in [−1, 1] that gradients flow
            through.
    """
    network.eval()
    if any(value.dtype == torch.float64 for value in network.state_dict().values()):
        raise GeneratorError("the generator is in float64; make it float32, such as by `.float()`")
    z = GaussianPrior(latent).sample(TRIAL, torch.Generator().manual_seed(0)).requires_grad_()
    try:
        x = network(z)
    except Exception as error:
        raise GeneratorError(
            f"the generator does not take latents of shape (n, {latent}), see --latent: {in_one_line(error)}"
        ) from error
    if not isinstance(x, Tensor) or x.shape != (TRIAL, *shape):
        found = "×".join(map(str, x.shape[1:])) if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise GeneratorError(f"the generator makes {found}; the dataset's images are {'×'.join(map(str, shape))}")
    if x.dtype != torch.float32:
        raise GeneratorError(f"the generator makes {str(x.dtype).removeprefix('torch.')} images; they must be float32")
    if not x.requires_grad:
        raise GeneratorError("no gradient flows through the generator to its latents, which chains need")
    low, high = x.min().item(), x.max().item()
    if not (low >= -1 - ROUNDING and high <= 1 + ROUNDING):  # nor is NaN
        raise GeneratorError(f"the generator's values go from {low:.3g} to {high:.3g}; images are in [−1, 1]")
    if low >= 0:
        raise GeneratorError(
            f"the generator's values go from {low:.3g} to {high:.3g}, as if from a sigmoid; images are in [−1, 1]: return 2x − 1"
        )
    return network


def _by(value: Tensor) -> str:
    return "×".join(map(str, value.shape)) or "a scalar"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
