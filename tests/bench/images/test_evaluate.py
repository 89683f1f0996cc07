"""Readouts of images: from which latents, on which split, at which temperature, at what cost, in which mode, through which codec.

Each test is a law that a plausible slip would break without any error: the numbers would still look like numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from bench.core.model import build_model
from bench.core.readout import Context
from bench.core.seeds import Streams
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.data import Dataset, load_dataset
from bench.data.images import PixelCodec
from bench.images import evaluation as evaluate
from bench.images import models as image_models
from bench.images.evaluation import SHOWN, read_base, read_chain, read_gain
from bench.images.models import HeldOutData, LatentModel, prepared
from bench.images.suite import BaseReadout, Chain, ChainReadout, GainReadout
from bench.metrics.extractors import Extractor, load_extractor
from bench.metrics.scores import reference, score
from gebm.objectives import likelihood_gain

from ..conftest import TINY, plan_one

FEW = 60
"""Images read out: all of them are kept for the eye."""


@dataclasses.dataclass(frozen=True)
class Read:
    """What a readout found: values with their rows, and the images of each row."""

    values: dict[str, Any]
    images: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run of the tiny suite, trained once, and what reads it out."""

    specs: dict[str, RunSpec]
    dataset: Dataset
    extractor: Extractor
    cache: Path
    state: dict[str, Tensor]

    def model(self) -> LatentModel:
        """A fresh copy of the trained model, as a checkpoint gives it."""
        model = untrained(self.specs["gebm"], self.dataset)
        model.load({name: value.clone() for name, value in self.state.items()})
        return model

    def read(self, model: LatentModel | HeldOutData, readout: Any) -> Read:
        """A readout of a model."""
        context = Context(model, self.dataset, self.cache, None, ignore, lambda: False)
        found = {BaseReadout: read_base, ChainReadout: read_chain, GainReadout: read_gain}[type(readout)](
            readout, context
        )
        return Read(dict(found.values), list(found.arrays.values()))

    def data_row(self, readout: Any) -> Read:
        """The readout of real data."""
        spec = self.specs["data"]
        streams = Streams(spec.base_seed, spec.dataset, spec.seed, spec.model)
        return self.read(HeldOutData(spec, self.dataset, streams, torch.device("cpu")), readout)

    def scores(self, images: Tensor, split: str) -> dict[str, float]:
        """Scores of images against a split, by hand."""
        real = reference(pixels(self.dataset, split), self.extractor, self.dataset.name, split)
        return dict(score(self.extractor.features(images), real).values)


def untrained(spec: RunSpec, dataset: Dataset) -> LatentModel:
    """The untrained model of a run."""
    model = build_model(spec, dataset, torch.device("cpu"))
    assert isinstance(model, LatentModel)
    return model


def pixels(dataset: Dataset, split: str) -> Tensor:
    """A split as bytes."""
    return PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits[split]))


def ignore(_: Any) -> None:
    """A progress callback."""


def readout(kind: Any = "base", samples: int = FEW, against: Any = "train", **chain: Any) -> Any:
    """A readout; `chain` are the settings of its chain."""
    if kind == "likelihood":
        return GainReadout(samples=samples)
    common = {"extractor": "digits-cnn", "samples": samples, "reference": against}
    if kind == "base":
        return BaseReadout(**common)
    settings = {"sampler": "ula", "beta": 1.0, "step_size": 1e-2, "lengths": (3,)} | chain
    return ChainReadout(**common, chain=Chain(**settings))


def perturb(network: nn.Module) -> None:
    """Make another network of it (not by scaling, which a spectral norm would undo)."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


@contextmanager
def watching(see: Callable[[nn.Module], None]) -> Iterator[None]:
    """Call `see` with every module, of whatever network, before each of its forward passes."""
    handle = register_module_forward_pre_hook(lambda module, _inputs: see(module))
    try:
        yield
    finally:
        handle.remove()


class WatchedSession(Session):
    """A session that says which phase it drives."""

    driving = "none"

    def drive(self, name: str, phase: Any) -> None:
        self.driving = name
        super().drive(name, phase)
        self.driving = "none"


def session(folder: Path) -> WatchedSession:
    """A session in a new folder."""
    folder.mkdir()
    return WatchedSession(folder, "", ignore, lambda: False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, extractor_cache: Path) -> Trained:
    """A trained run of the tiny suite."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(TINY)
    suite, store = load_suite(str(folder / "tiny.toml")), Store(folder / "store").create()
    dataset = load_dataset("digits", None)
    specs = {name: plan_one(suite, store, name).task.spec for name in ("gebm", "data")}
    model = untrained(specs["gebm"], dataset)
    model.fit(session(folder / "run"))
    extractor = load_extractor("digits-cnn", dataset, extractor_cache, None)
    return Trained(specs, dataset, extractor, extractor_cache, model.state())


# -- latents -----------------------------------------------------------------------------------------------------


def test_base_images_are_those_of_the_evaluation_latents(trained: Trained) -> None:
    model = trained.model()
    z = torch.randn(FEW, 4, generator=model.streams.generator("evaluation-latents"))
    levels = ((model.base(z).double() + 1) * 17 / 2).floor().clamp(0, 16)
    (images,) = trained.read(model, readout()).images
    assert len(images) == FEW <= SHOWN
    assert np.array_equal(images, (levels * 255 / 16).round().to(torch.uint8).numpy())


@pytest.mark.parametrize("batch", [FEW, 25])
@pytest.mark.parametrize("sampler", ["ula", "mala"])
def test_a_chain_starts_where_the_base_is(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, sampler: str, batch: int
) -> None:
    """With a vanishing step it stays there, image by image, however the latents are cut into batches."""
    monkeypatch.setattr(evaluate, "AT_ONCE", batch)
    model = trained.model()
    base = trained.read(model, readout())
    still = trained.read(model, readout("chain", sampler=sampler, step_size=1e-30, lengths=(1, 4)))
    for images, row in zip(still.images, still.values["rows"], strict=True):
        assert images.tobytes() == base.images[0].tobytes()
        assert row["scores"] == base.values["rows"][0]["scores"]
    moved = trained.read(model, readout("chain", sampler=sampler, step_size=1e-2, lengths=(1, 4)))
    first, last = moved.images
    assert first.tobytes() != base.images[0].tobytes()
    assert first.tobytes() != last.tobytes()


# -- splits ------------------------------------------------------------------------------------------------------


def test_the_likelihood_gain_is_that_of_the_test_split(trained: Trained) -> None:
    model = trained.model()
    (row,) = trained.read(model, readout("likelihood", samples=500)).values["rows"]
    gains = {}
    for split in ("train", "validation", "test"):
        x = prepared(model, split)
        assert np.array_equal(PixelCodec(17).quantise(x).numpy(), trained.dataset.splits[split])
        gains[split] = likelihood_gain(model.energy(x), row["log_partition"]["estimate"]).item()
    assert len(set(gains.values())) == 3
    assert row["scores"]["likelihood-gain"] == gains["test"]
    assert row["train_gain"] == gains["train"]


def test_the_log_partition_is_that_of_the_model(trained: Trained) -> None:
    """At β = 1, on the base: other draws agree within their errors."""
    model, draws = trained.model(), 4000
    (row,) = trained.read(model, readout("likelihood", samples=draws)).values["rows"]
    z = torch.randn(draws, 4, generator=torch.Generator().manual_seed(5))
    estimate = (torch.logsumexp(-model.energy(model.base(z)).double(), 0) - math.log(draws)).item()
    error = row["log_partition"]["standard_error"]
    assert abs(estimate - row["log_partition"]["estimate"]) < 6 * error < 0.1 * max(abs(estimate), 1)


@pytest.mark.parametrize(("against", "split"), [("train", "test"), ("test", "validation")])
def test_the_floor_is_of_data_that_it_is_not_compared_with(trained: Trained, against: str, split: str) -> None:
    """Real data is the held-out test split; where that is the reference, the validation split, never itself."""
    (shown,) = trained.data_row(readout(against=against)).images
    assert np.array_equal(shown, pixels(trained.dataset, split)[:FEW].numpy())
    count = len(trained.dataset.splits[split])
    (row,) = trained.data_row(readout(samples=10 * count, against=against)).values["rows"]
    assert row["scores"] == trained.scores(pixels(trained.dataset, split), against)
    assert row["scores"]["fd[digits-cnn]"] > 1e-3  # against itself it would be 0


def test_early_stopping_looks_at_the_validation_split_only(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other test data change nothing of a training; other validation data change every held-out gain."""
    seen: list[str] = []

    def spy(model: LatentModel, split: str) -> Tensor:
        seen.append(split)
        return prepared(model, split)

    monkeypatch.setattr(image_models, "prepared", spy)

    def fitted(blank: str) -> tuple[dict[str, Tensor], list[float]]:
        splits = {name: values * 0 if name == blank else values for name, values in trained.dataset.splits.items()}
        model = untrained(trained.specs["gebm"], dataclasses.replace(trained.dataset, splits=splits))
        run = session(tmp_path / (blank or "run"))
        model.fit(run)
        return model.state(), [point["held_out_gain"] for point in run.curve if "held_out_gain" in point]

    state, gains = fitted("")
    assert set(seen) == {"validation"}
    for name, value in state.items():
        assert torch.equal(value, trained.state[name]), name
    other_state, other_gains = fitted("test")
    assert other_gains == gains
    for name, value in other_state.items():
        assert torch.equal(value, state[name]), name
    _, blank_gains = fitted("validation")
    assert len(gains) == len(blank_gains) >= 2
    assert all(one != other for one, other in zip(gains, blank_gains, strict=True))


# -- temperature and cost ----------------------------------------------------------------------------------------


def test_beta_weighs_the_energy(trained: Trained) -> None:
    """At β = 0 the energy has no say; then more with each β, under the same noise."""
    model, other = trained.model(), trained.model()
    perturb(other.energy)
    images = {}
    for beta in (0.0, 1.0, 100.0):
        chain = readout("chain", beta=beta, lengths=(10,))
        result = trained.read(model, chain)
        assert result.values["beta"] == beta
        images[beta] = result.images[0].tobytes()
        assert (trained.read(other, chain).images[0].tobytes() == images[beta]) == (beta == 0)
    assert len(set(images.values())) == 3


def test_colder_chains_go_to_lower_energies(trained: Trained) -> None:
    model = trained.model()
    energies = []
    for beta in (0.0, 10.0, 100.0):
        (images,) = trained.read(model, readout("chain", beta=beta, lengths=(30,))).images
        x = (torch.from_numpy(images).float() * 16 / 255).round().add(0.5) * (2 / 17) - 1
        energies.append(model.energy(x).mean().item())
    assert energies[0] > energies[1] > energies[2]


@pytest.mark.parametrize("sampler", ["ula", "hmc", "rwm"])
def test_cost_is_what_was_spent(trained: Trained, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    """A chain: evaluations of the energy, but for that of the start, with and without the way back; batches do not add up."""
    monkeypatch.setattr(evaluate, "AT_ONCE", FEW // 3)
    model, calls = trained.model(), {True: 0, False: 0}

    def count(_module: nn.Module, _inputs: Any) -> None:
        calls[torch.is_grad_enabled()] += 1

    model.energy.register_forward_pre_hook(count)
    settings = {"sampler": sampler, "step_size": 1e-2}
    for length in (1, 4):
        calls.update({True: 0, False: 0})
        (row,) = trained.read(model, readout("chain", **settings, lengths=(length,))).values["rows"]
        start = {sampler != "rwm": 1, sampler == "rwm": 0}
        assert row["steps"] == length
        assert calls[True] == 3 * (row["gradient_evaluations"] + start[True])
        assert calls[False] == 3 * (row["forward_evaluations"] + start[False])
        if sampler == "ula":
            assert (row["gradient_evaluations"], row["forward_evaluations"]) == (length, 0)
    rows = trained.read(model, readout("chain", **settings, lengths=(1, 2, 4))).values["rows"]
    for kind in ("gradient_evaluations", "forward_evaluations"):
        assert [each[kind] for each in rows] == [rows[0][kind] * each["steps"] for each in rows]
    (base,) = trained.read(model, readout()).values["rows"]
    assert (base["gradient_evaluations"], base["forward_evaluations"]) == (0, 0)


# -- modes -------------------------------------------------------------------------------------------------------


def test_the_energy_is_refitted_on_the_base_that_is_sampled(trained: Trained, tmp_path: Path) -> None:
    """Training mode while the base is trained, evaluation mode from then on, the refit's own samples included."""
    model, run = untrained(trained.specs["gebm"], trained.dataset), session(tmp_path / "run")
    flags: dict[str, set[bool]] = {"training": set(), "refit": set(), "none": set()}

    def see(module: nn.Module) -> None:
        if any(module is part for part in model.base.modules()):
            flags[run.driving].update(part.training for part in model.base.modules())

    with watching(see):
        model.fit(run)
    assert flags == {"training": {True}, "refit": {False}, "none": {False}}
    assert not any(part.training for part in [*model.base.modules(), *model.energy.modules()])


@pytest.mark.parametrize("origin", ["fitted", "loaded"])
def test_readouts_change_nothing_and_run_in_evaluation_mode(trained: Trained, tmp_path: Path, origin: str) -> None:
    model = trained.model()
    if origin == "fitted":
        model = untrained(trained.specs["gebm"], trained.dataset)
        model.fit(session(tmp_path / "run"))
    parts = [*model.base.modules(), *model.energy.modules()]
    flags: set[bool] = set()
    asking: set[bool] = set()

    def see(module: nn.Module) -> None:
        if any(module is part for part in parts):
            flags.update(part.training for part in parts)
            asking.update(parameter.requires_grad for parameter in module.parameters())

    readouts = (readout(), readout("chain", lengths=(3,)), readout("likelihood", samples=100))
    with watching(see):
        results = [trained.read(model, each) for each in readouts]
    assert flags == {False}
    assert asking == {False}
    for name, value in model.state().items():
        assert torch.equal(value, trained.state[name]), name
    again = [trained.read(trained.model(), each) for each in readouts]
    for one, other in zip(results, again, strict=True):
        assert one.values == other.values
        assert [i.tobytes() for i in one.images] == [i.tobytes() for i in other.images]


# -- codec -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["base", "chain"])
def test_images_go_through_the_codec_and_not_through_their_own_range(trained: Trained, kind: str) -> None:
    """Greyer outputs are greyer bytes, brighter outputs are clipped; and every byte is one of the data's levels."""
    chain = {"lengths": (2,)} if kind == "chain" else {}
    ranges = {}
    for scale in (0.02, 1.0, 100.0):
        model = trained.model()
        last = [layer for layer in model.base.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            for parameter in last.parameters():
                parameter.mul_(scale)
        (images,) = trained.read(model, readout(kind, **chain)).images
        assert set(np.unique(images)) <= set(PixelCodec(17).to_bytes(torch.arange(17)).tolist())
        ranges[scale] = (int(images.min()), int(images.max()))
    (low, high), (wider_low, wider_high) = ranges[0.02], ranges[1.0]
    assert 96 <= low <= 128 <= high <= 160
    assert wider_low < low <= high < wider_high
    assert ranges[100.0] == (0, 255)
