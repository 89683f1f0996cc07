"""Published settings, by name: architecture and training as their papers have them.

`maf-…` and `realnvp-…` of Papamakarios et al. (2017, section 4 and appendix B): batch 100, Adam at 1e-4, weight decay 1e-6, batch norm
after every layer with statistics of all training rows, features reversed between layers, a look at the validation rows once an epoch,
30 epochs of patience. The paper trains one and two hidden layers, and 1024 units for BSDS300 too, and reports what validation prefers:
`blocks` is 1 here, and 512 units. Its RealNVP has a tanh network for the scale beside a ReLU one for the shift, ours one for both.

`nsf-…` of Durkan et al. (2019, appendix B): LU layers, residual networks, tail bound 3, gradients clipped at 5, cosine decay, a look
every 250 steps, no early stop.

`gebm-realnvp` of Arbel et al. (2021, density runs): 5 couplings of 100 hidden units; nothing more is taken from the paper, so
training is by our defaults.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from baselines.flows.maximum_likelihood import MaximumLikelihoodSettings
from baselines.flows.settings import Activation, Family, FlowSettings

__all__ = ["PRESETS", "Preset", "preset"]


@dataclass(frozen=True)
class Preset:
    """A flow and how it is trained.

    Arguments:
        flow: the architecture.
        training: its training by maximum likelihood.
        dataset: the dataset of the paper, in the MAF protocol, that the settings are for; empty for any.
    """

    flow: FlowSettings
    training: MaximumLikelihoodSettings
    dataset: str = ""


def preset(name: str) -> Preset:
    """The published settings of this name.

    Raises:
        LookupError: if there are none, naming the nearest.

    Example:
        >>> preset("nsf-coupling-miniboone").flow.hidden
        32
        >>> preset("maf-miniboon")
        Traceback (most recent call last):
        ...
        LookupError: no preset 'maf-miniboon'; did you mean 'maf-5-miniboone'?
    """
    if name in PRESETS:
        return PRESETS[name]
    near = get_close_matches(name, PRESETS, n=1, cutoff=0.0)
    raise LookupError(f"no preset {name!r}; did you mean {near[0]!r}?")


TRAINING_ROWS = {"power": 1_615_917, "gas": 852_174, "hepmass": 315_123, "miniboone": 29_556, "bsds300": 1_000_000}
"""Rows of the MAF protocol's training splits, which set the length of an epoch."""

MAF_HIDDEN = {"power": 100, "gas": 100, "hepmass": 512, "miniboone": 512, "bsds300": 512}

Row = tuple[float, int, int, int, int, int, int, float]
"""Learning rate, batch, steps, layers, blocks, hidden, bins, dropout."""

NSF_COUPLING: dict[str, Row] = {
    "power": (5e-4, 512, 400_000, 10, 2, 256, 8, 0.0),
    "gas": (5e-4, 512, 400_000, 10, 2, 256, 8, 0.1),
    "hepmass": (5e-4, 256, 400_000, 20, 1, 128, 8, 0.2),
    "miniboone": (3e-4, 128, 200_000, 10, 1, 32, 4, 0.2),
    "bsds300": (5e-4, 512, 400_000, 20, 1, 128, 8, 0.2),
}
NSF_AUTOREGRESSIVE: dict[str, Row] = {
    "power": (5e-4, 512, 400_000, 10, 2, 256, 8, 0.0),
    "gas": (5e-4, 512, 400_000, 10, 2, 256, 8, 0.1),
    "hepmass": (5e-4, 512, 400_000, 10, 2, 256, 8, 0.2),
    "miniboone": (3e-4, 64, 250_000, 10, 1, 64, 4, 0.2),
    "bsds300": (5e-4, 512, 400_000, 10, 2, 512, 8, 0.2),
}


def _papamakarios() -> Iterator[tuple[str, Preset]]:
    for dataset, rows in TRAINING_ROWS.items():
        epoch = -(-rows // 100)
        training = MaximumLikelihoodSettings(
            steps=1000 * epoch,
            batch_size=100,
            learning_rate=1e-4,
            weight_decay=1e-6,
            decay="constant",
            clip_norm=0.0,
            check_every=epoch,
            patience=30,
        )
        plain = FlowSettings("realnvp", hidden=MAF_HIDDEN[dataset], normalisation="batch")
        activation: Activation = "tanh" if dataset == "gas" else "relu"
        autoregressive = replace(plain, family="maf", linear="reverse", activation=activation)
        for layers in (5, 10):
            yield f"realnvp-{layers}-{dataset}", Preset(replace(plain, layers=layers), training, dataset)
            yield f"maf-{layers}-{dataset}", Preset(replace(autoregressive, layers=layers), training, dataset)


def _durkan() -> Iterator[tuple[str, Preset]]:
    tables: dict[Family, dict[str, Row]] = {"nsf-coupling": NSF_COUPLING, "nsf-ar": NSF_AUTOREGRESSIVE}
    for family, table in tables.items():
        for dataset, (rate, batch, steps, layers, blocks, hidden, bins, dropout) in table.items():
            flow = FlowSettings(
                family,
                layers=layers,
                hidden=hidden,
                blocks=blocks,
                residual=True,
                dropout=dropout,
                linear="lu",
                bins=bins,
            )
            training = MaximumLikelihoodSettings(steps, batch, rate, check_every=250)
            yield f"{family}-{dataset}", Preset(flow, training, dataset)


PRESETS: dict[str, Preset] = {
    "gebm-realnvp": Preset(FlowSettings("realnvp"), MaximumLikelihoodSettings(steps=10_000, patience=20)),
    **dict(_papamakarios()),
    **dict(_durkan()),
}
