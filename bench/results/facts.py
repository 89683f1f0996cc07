"""What the report needs to know about a run besides its scores; filled from the store, read without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

__all__ = ["DATA", "LikelihoodFacts", "PartitionFacts", "ReadoutFacts", "RunFacts", "SampleFile"]

DATA = "data"
"""Sampler and model name of held-out real data, the floor of every score."""


class SampleFile(NamedTuple):
    """Images kept for the eye: a .npy file of uint8, shape (n, channels, height, width).

    `sampler` is "base", "data" or a latent sampler; `beta` is None (or NaN) for the first two; image i of every file of
    one seed comes from the same latent. Where the array has a leading fifth axis, `position` picks from it.
    """

    sampler: str
    beta: float | None
    steps: int
    path: Path
    position: int = 0
    step_size: float | None = None


class ReadoutFacts(NamedTuple):
    """How one set of images was scored: a base, real data, or one length of a chain.

    `samples` images were scored against the split `reference` by `extractor`. `frechet_curve` are (number of them, Fréchet distance) with
    rising numbers, `frechet_infinity` is what they extrapolate to; empty and None where the evaluation did not keep them. `settings` are
    those of a chain besides its step size by name, the decay of which is among them ("decay_factor", "decay_every").
    """

    sampler: str
    beta: float | None
    step_size: float | None
    steps: int
    samples: int
    reference: str
    extractor: str
    frechet_curve: Sequence[tuple[int, float]] = ()
    frechet_infinity: float | None = None
    settings: Sequence[tuple[str, Any]] = ()


class PartitionFacts(NamedTuple):
    """An estimate of log Z, in nats, as an evaluation states it; what it does not state is None.

    `bracket` are the ends of the held-out log-likelihood that follow from it, `gain` is the energy's L(E) on held-out data, `known` is
    log Z where it is known.
    """

    estimate: float
    standard_error: float | None
    effective_fraction: float | None
    pareto_k: float | None
    gain: float | None
    reportable: bool
    bracket: tuple[float, float] | None = None
    warnings: Sequence[str] = ()
    key: str = ""
    method: str = ""
    draws: int = 0
    known: float | None = None


@dataclass(frozen=True)
class LikelihoodFacts:
    """What a log-likelihood on test rows rests on, in nats.

    Attributes:
        exact: whether there is no log Z to estimate.
        rows: how many.
        points_error: standard error of the mean over them.
        gain_points_error: standard error of the mean gain over the base, over the same rows; 0 without an energy.
        log_det: to be added for the likelihood of the values as they were in the file.
        features: a name for each column.
        remarks: what must stand beside every likelihood on these data, a sentence each.
        points: a .npy file of the log-density of every test row, the rows in the same order for all models of a dataset.
        base_points: the same of the model's own base; without an energy the same file.
        samples: a .npy file of draws of the model, (n, d).
        data: a .npy file of as many test rows.
    """

    FILES: ClassVar[tuple[str, ...]] = ("points", "base_points", "samples", "data")

    exact: bool
    rows: int
    points_error: float
    gain_points_error: float
    log_det: float
    features: Sequence[str]
    remarks: Sequence[str]
    points: Path
    base_points: Path
    samples: Path
    data: Path


@dataclass(frozen=True)
class RunFacts:
    """One run's certificate, costs, curve and pictures.

    Attributes:
        run: the run's id, as in the frame's column `run`.
        dataset: its dataset's name.
        model: its model's name.
        seed: its repeat.
        parameters: number of parameters by network; networks that are to match carry the same name in every model.
        flops: floating point operations per sample by network.
        architecture: sha256 of the layer structure by network.
        initial_weights: sha256 of the weights before training by network.
        seconds: wall clock by phase ("training", "sampling", "scoring").
        curve: JSON lines with `phase`, `step` and named losses, or None.
        samples: the kept images.
        readouts: how each set of images was scored.
        network: the networks' settings ("family", "width", …) as the run's specification has them.
        base_steps: training steps of the base; None without such training.
        batch_size: of that training.
        log_partitions: estimates of log Z.
        versions: library name to version.
        device: the machine's words for what it ran on.
        suite: for which suite its readouts were gathered; empty for any.
        profile: likewise.
        likelihood: what its log-likelihood rests on, where it has one.
    """

    run: str
    dataset: str
    model: str
    seed: int
    parameters: Mapping[str, int] = field(default_factory=dict)
    flops: Mapping[str, int] = field(default_factory=dict)
    architecture: Mapping[str, str] = field(default_factory=dict)
    initial_weights: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    curve: Path | None = None
    samples: Sequence[SampleFile] = ()
    readouts: Sequence[ReadoutFacts] = ()
    network: Mapping[str, Any] = field(default_factory=dict)
    base_steps: int | None = None
    batch_size: int | None = None
    log_partitions: Sequence[PartitionFacts] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = ""
    suite: str = ""
    profile: str = ""
    likelihood: LikelihoodFacts | None = None
