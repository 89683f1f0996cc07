"""Readouts of images: from which latents, on which split, at which temperature, at what cost, in which mode, through which codec.

Each test is a law that a plausible slip would break without any error: the numbers would still look like numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from bench.core.model import Model, build_model
from bench.core.readout import Context, Result
from bench.core.session import Session
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Task
from bench.data import Dataset, load_dataset
from bench.data.images import PixelCodec
from bench.images import evaluation, models
from bench.images.energies import energies_of
from bench.images.evaluation import read_base, read_chain, read_temperature
from bench.images.models import LatentModel, prepared
from bench.images.scoring import SHOWN, references
from bench.images.suite import BaseReadout, Chain, ChainReadout, TemperatureReadout
from bench.metrics.scores import FeatureSets, reference
from gebm.objectives import likelihood_gain

from ..conftest import TINY, plan_one
from ..core.test_runner import built, ignore

FEW = 60  # images read out: all of them are kept for the eye
ENERGY: dict[str, Any] = {"partition_samples": 500, "annealing": 0, "betas": (1.0,)}


class Trained(NamedTuple):
    """A run of the tiny suite, trained once, and what reads it out; extractor and references are shared by all readouts."""

    task: Task
    floor: Task
    state: dict[str, Tensor]
    context: Context

    @property
    def dataset(self) -> Dataset:
        return self.context.dataset

    def model(self) -> LatentModel:
        """A fresh copy of the trained model, as a checkpoint gives it."""
        model = built(self.task, self.dataset)
        model.load({name: value.clone() for name, value in self.state.items()})
        return model

    def base(self, model: Model, samples: int = FEW, against: Any = "train") -> Result:
        """Score samples without a chain."""
        asked = BaseReadout(extractor="digits-cnn", samples=samples, reference=against)
        return read_base(asked, self.of(model))

    def chain(self, model: Model, lengths: tuple[int, ...] = (3,), **chain: Any) -> Result:
        """Score a chain: of ULA at β = 1 unless said otherwise."""
        asked = Chain(**({"sampler": "ula", "beta": 1.0, "step_size": 1e-2, "lengths": lengths} | chain))
        return read_chain(self.asking(asked), self.of(model))

    def asking(self, chain: Chain) -> ChainReadout:
        """A readout of a chain."""
        return ChainReadout(chain=chain, extractor="digits-cnn", samples=FEW, reference="train", **ENERGY)

    def of(self, model: Model) -> Context:
        """A context of another model, which knows nothing of this one's energies."""
        made = {key: value for key, value in self.context._made.items() if key[0] != "energies"}
        return dataclasses.replace(self.context, model=model, _made=made)

    def gain(self, model: Model, samples: int) -> dict[str, Any]:
        """Read out what the energy adds to the base at β = 1."""
        asked = TemperatureReadout(**ENERGY | {"partition_samples": samples})
        rows: list[dict[str, Any]] = read_temperature(asked, self.of(model)).values["rows"]
        return rows[0]


def images(result: Result) -> list[np.ndarray]:
    """The images of each row."""
    return list(result.arrays.values())


def pixels(dataset: Dataset, split: str) -> Tensor:
    """A split as bytes."""
    return PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits[split]))


def assert_same(state: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    """Two models have the same weights, bit for bit."""
    torch.testing.assert_close(state, other, rtol=0, atol=0)


def watching(see: Callable[[nn.Module], None]) -> RemovableHandle:
    """Call `see` with every module, of whatever network, before each of its forward passes, until the context ends."""
    return register_module_forward_pre_hook(lambda module, _inputs: see(module))


class WatchedSession(Session):
    """A session in a new folder that says which phase it drives."""

    driving = "none"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(folder, "", ignore, lambda: False)

    def drive(self, name: str, phase: Any) -> None:
        self.driving = name
        super().drive(name, phase)
        self.driving = "none"


def gains_on_the_way(run: Session) -> list[float]:
    """The held-out gains that early stopping looked at."""
    return [point["held_out_gain"] for point in run.curve if "held_out_gain" in point]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, finished: Store) -> Trained:
    """The GEBM of the tiny suite, and real data in its place."""
    path = tmp_path_factory.mktemp("suite") / "tiny.toml"
    path.write_text(TINY)
    task, floor = (plan_one(load_suite(str(path)), finished, name).task for name in ("gebm", "data"))
    dataset = load_dataset("digits", None)
    state = load_file(finished.folder(task.spec) / "checkpoint.safetensors")
    return Trained(task, floor, state, Context(built(task), dataset, finished.cache, None, ignore, lambda: False))


class Watched(NamedTuple):
    """A training that was looked at: modes of the base by phase, splits that were prepared, held-out gains, the model."""

    modes: dict[str, set[bool]]
    splits: set[str]
    gains: list[float]
    model: LatentModel


@pytest.fixture(scope="module")
def watched(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The training of `trained`, once more."""
    model, run = built(trained.task, trained.dataset), WatchedSession(tmp_path_factory.mktemp("watched") / "run")
    modes: dict[str, set[bool]] = {"training": set(), "refit": set(), "none": set()}
    splits: set[str] = set()

    def see(module: nn.Module) -> None:
        if any(module is part for part in model.base.modules()):
            modes[run.driving].update(part.training for part in model.base.modules())

    def spy(asked: Model, split: str) -> Tensor:
        splits.add(split)
        return prepared(asked, split)

    with watching(see), pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "prepared", spy)
        model.fit(run)
    return Watched(modes, splits, gains_on_the_way(run), model)


# -- latents -----------------------------------------------------------------------------------------------------


def test_base_images_are_those_of_the_evaluation_latents(trained: Trained) -> None:
    model = trained.model()
    z = torch.randn(FEW, 4, generator=model.streams.generator("evaluation-latents"))
    levels = ((model.base(z).double() + 1) * 17 / 2).floor().clamp(0, 16)
    (shown,) = images(trained.base(model))
    assert len(shown) == FEW <= SHOWN
    assert np.array_equal(shown, (levels * 255 / 16).round().to(torch.uint8).numpy())


@pytest.mark.parametrize("batch", [FEW, 25])
@pytest.mark.parametrize("sampler", ["ula", "mala"])
def test_a_chain_starts_where_the_base_is(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, sampler: str, batch: int
) -> None:
    """With a vanishing step it stays there, image by image, however the latents are cut into batches."""
    monkeypatch.setattr(evaluation, "AT_ONCE", batch)
    model = trained.model()
    base = trained.base(model)
    still = trained.chain(model, (1, 4), sampler=sampler, step_size=1e-30)
    assert len(images(still)) == 2
    for shown, row in zip(images(still), still.values["rows"], strict=True):
        assert shown.tobytes() == images(base)[0].tobytes()
        assert row["scores"] == base.values["rows"][0]["scores"]
    first, last = images(trained.chain(model, (1, 4), sampler=sampler))
    assert first.tobytes() != images(base)[0].tobytes()
    assert first.tobytes() != last.tobytes()


# -- splits ------------------------------------------------------------------------------------------------------


def test_the_likelihood_gain_is_that_of_the_test_split(trained: Trained) -> None:
    model = trained.model()
    row = trained.gain(model, 500)
    gains = {}
    for split in ("train", "validation", "test"):
        x = prepared(model, split)
        assert np.array_equal(PixelCodec(17).quantise(x).numpy(), trained.dataset.splits[split])
        gains[split] = likelihood_gain(model.energy(x), row["log_partition"]["estimate"]).item()
    assert len(set(gains.values())) == 3
    assert row["scores"]["likelihood-gain"] == pytest.approx(gains["test"], abs=1e-5)
    assert row["train_gain"] == pytest.approx(gains["train"], abs=1e-5)


def test_the_log_partition_is_that_of_the_model(trained: Trained) -> None:
    """At β = 1, on the base: other draws agree within six standard errors; seeds are fixed."""
    model, draws = trained.model(), 4000
    row = trained.gain(model, draws)
    z = torch.randn(draws, 4, generator=torch.Generator().manual_seed(5))
    estimate = (torch.logsumexp(-model.energy(model.base(z)).double(), 0) - math.log(draws)).item()
    error = row["log_partition"]["standard_error"]
    assert abs(estimate - row["log_partition"]["estimate"]) < 6 * error < 0.1 * max(abs(estimate), 1)


def test_halves_keep_what_the_extractor_has_seen_out_of_the_reference(trained: Trained) -> None:
    asked = BaseReadout(extractor="digits-half-cnn", samples=FEW, reference="half")
    extractor, real = references(asked, trained.context)
    whole, _ = references(asked.model_copy(update={"extractor": "digits-cnn"}), trained.context)
    expected = pixels(trained.dataset, "train")[1::2]
    assert real.digest == reference(expected, whole, "digits", "half").digest
    assert extractor.digest != whole.digest
    assert (extractor.accuracy or 0) > 0.9


@pytest.mark.parametrize(("against", "split"), [("train", "test"), ("test", "validation")])
def test_the_floor_is_of_data_that_it_is_not_compared_with(trained: Trained, against: str, split: str) -> None:
    """Real data is the held-out test split; where that is the reference, the validation split, never itself."""
    data = build_model(trained.floor.spec, trained.dataset, torch.device("cpu"))
    (shown,) = images(trained.base(data, against=against))
    expected = pixels(trained.dataset, split)
    assert np.array_equal(shown, expected[:FEW].numpy())
    (row,) = trained.base(data, len(expected), against).values["rows"]
    asked = BaseReadout(extractor="digits-cnn", samples=FEW, reference="train")
    extractor, _ = references(asked, trained.context)
    real = reference(pixels(trained.dataset, against), extractor, trained.dataset.name, against)
    assert row["scores"] == FeatureSets(extractor.features(expected), real).scores()
    assert row["scores"]["fd[digits-cnn]"] > 1e-3  # against itself it would be 0
    (row,) = trained.base(data, len(expected) + 1, against).values["rows"]
    assert (row["scores"], row["why_not"]) == (
        {},
        f"{len(expected):,} held-out images, {len(expected) + 1:,} are scored",
    )


def test_early_stopping_looks_at_the_validation_split_only(trained: Trained, watched: Watched, tmp_path: Path) -> None:
    """Other test data change nothing of a training; other validation data change every held-out gain."""
    assert watched.splits == {"validation"}
    assert_same(watched.model.state(), trained.state)
    gains = {}
    for blank in ("test", "validation"):
        splits = {name: values * 0 if name == blank else values for name, values in trained.dataset.splits.items()}
        model = built(trained.task, dataclasses.replace(trained.dataset, splits=splits))
        model.fit(run := WatchedSession(tmp_path / blank))
        gains[blank] = gains_on_the_way(run)
        if blank == "test":
            assert_same(model.state(), trained.state)
    assert gains["test"] == watched.gains
    assert len(watched.gains) == len(gains["validation"]) >= 2
    assert all(one != other for one, other in zip(watched.gains, gains["validation"], strict=True))


# -- temperature and cost ----------------------------------------------------------------------------------------


def test_beta_weighs_the_energy(trained: Trained) -> None:
    """At β = 0 the energy has no say; then more with each β, under the same noise."""
    model, other = trained.model(), trained.model()
    generator = torch.Generator().manual_seed(7)
    for parameter in other.energy.parameters():  # not by scaling, which a spectral norm would undo
        parameter.add_(torch.randn(parameter.shape, generator=generator))
    seen = {}
    for beta in (0.0, 1.0, 100.0):
        result = trained.chain(model, (10,), beta=beta)
        assert result.values["rows"][0]["beta"] == beta
        seen[beta] = images(result)[0].tobytes()
        assert (images(trained.chain(other, (10,), beta=beta))[0].tobytes() == seen[beta]) == (beta == 0)
    assert len(set(seen.values())) == 3


def test_colder_chains_go_to_lower_energies(trained: Trained) -> None:
    model = trained.model()
    energies = []
    for beta in (0.0, 10.0, 100.0):
        (shown,) = images(trained.chain(model, (30,), beta=beta))
        x = (torch.from_numpy(shown).float() * 16 / 255).round().add(0.5) * (2 / 17) - 1
        energies.append(model.energy(x).mean().item())
    assert energies[0] > energies[1] > energies[2]


@pytest.mark.parametrize("sampler", ["ula", "hmc", "rwm"])
def test_cost_is_what_was_spent(trained: Trained, monkeypatch: pytest.MonkeyPatch, sampler: str) -> None:
    """A chain: evaluations of the energy, but for that of the start, with and without the way back; batches do not add up."""
    monkeypatch.setattr(evaluation, "AT_ONCE", FEW // 3)
    model, calls = trained.model(), {True: 0, False: 0}

    def count(_module: nn.Module, _inputs: Any) -> None:
        calls[torch.is_grad_enabled()] += 1

    model.energy.register_forward_pre_hook(count)
    for length in (1, 4):
        asked = trained.asking(Chain(sampler=sampler, beta=1.0, step_size=1e-2, lengths=(length,)))
        context = trained.of(model)
        energies_of(context, asked).mean_energy(1.0)  # what the verdict rests on is not the chain's cost
        calls.update({True: 0, False: 0})
        (row,) = read_chain(asked, context).values["rows"]
        start = {sampler != "rwm": 1, sampler == "rwm": 0}
        assert row["steps"] == length
        assert calls[True] == 3 * (row["gradient_evaluations"] + start[True])
        assert calls[False] == 3 * (row["forward_evaluations"] + start[False])
        if sampler == "ula":
            assert (row["gradient_evaluations"], row["forward_evaluations"]) == (length, 0)
    rows = trained.chain(model, (1, 2, 4), sampler=sampler).values["rows"]
    for kind in ("gradient_evaluations", "forward_evaluations"):
        assert [each[kind] for each in rows] == [rows[0][kind] * each["steps"] for each in rows]
    (base,) = trained.base(model).values["rows"]
    assert (base["gradient_evaluations"], base["forward_evaluations"]) == (0, 0)


# -- modes -------------------------------------------------------------------------------------------------------


def test_the_energy_is_refitted_on_the_base_that_is_sampled(watched: Watched) -> None:
    """Training mode while the base is trained, evaluation mode from then on, the refit's own samples included."""
    assert watched.modes == {"training": {True}, "refit": {False}, "none": {False}}
    assert not any(part.training for part in [*watched.model.base.modules(), *watched.model.energy.modules()])


@pytest.mark.parametrize("origin", ["fitted", "loaded"])
def test_readouts_change_nothing_and_run_in_evaluation_mode(trained: Trained, watched: Watched, origin: str) -> None:
    """Every network that is called, the copies that chains follow included."""
    model = watched.model if origin == "fitted" else trained.model()
    seen: set[tuple[bool, bool]] = set()

    def see(module: nn.Module) -> None:
        seen.add((module.training, any(parameter.requires_grad for parameter in module.parameters())))

    def read(of: LatentModel) -> list[Result]:
        asked = TemperatureReadout(**ENERGY)
        return [trained.base(of), trained.chain(of), read_temperature(asked, trained.of(of))]

    with watching(see):
        results = read(model)
    assert seen == {(False, False)}
    assert_same(model.state(), trained.state)
    for one, other in zip(results, read(trained.model()), strict=True):
        assert one.values == other.values
        assert [i.tobytes() for i in images(one)] == [i.tobytes() for i in images(other)]


# -- codec -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["base", "chain"])
def test_images_go_through_the_codec_and_not_through_their_own_range(trained: Trained, kind: str) -> None:
    """Greyer outputs are greyer bytes, brighter outputs are clipped; and every byte is one of the data's levels."""
    ranges = {}
    for scale in (0.02, 1.0, 100.0):
        model = trained.model()
        last = [layer for layer in model.base.modules() if isinstance(layer, nn.Linear)][-1]
        for parameter in last.parameters():
            parameter.mul_(scale)
        (shown,) = images(trained.base(model) if kind == "base" else trained.chain(model, (2,)))
        assert set(np.unique(shown)) <= set(PixelCodec(17).to_bytes(torch.arange(17)).tolist())
        ranges[scale] = (int(shown.min()), int(shown.max()))
    (low, high), (wider_low, wider_high) = ranges[0.02], ranges[1.0]
    assert 96 <= low <= 128 <= high <= 160
    assert wider_low < low <= high < wider_high
    assert ranges[100.0] == (0, 255)
