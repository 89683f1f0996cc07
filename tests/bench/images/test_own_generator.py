"""A generator from elsewhere: what cannot be one is named, and what can becomes a run that an energy is fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.core.plan import Planned
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError
from bench.core.task import Places
from bench.data import Dataset, load_dataset
from bench.images.own_generator import GeneratorError, checked, imported, with_weights
from bench.images.refits import Refit, RefitError, plan_refit, take_in

from ..conftest import changed, do, plan_one

LATENT, SHAPE = 4, (1, 8, 8)


class Own(nn.Module):
    """A generator of the user's, so small that nothing is trained."""

    def __init__(self, latent: int = LATENT, end: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.dense, self.end = nn.Linear(latent, 64), end

    def forward(self, z: Tensor) -> Tensor:
        return self.end(self.dense(z)).view(-1, *SHAPE)


def own_of_six() -> Own:
    return Own(6)


def number() -> int:
    return 3


def planned(suite: Suite, store: Store, generator: object, **asked: object) -> Planned:
    """The plan of a refit, with a generator from elsewhere taken in."""
    found, network = plan_refit(suite, Refit(str(generator), **asked), Places(store.root, device="cpu"), digits)  # type: ignore[arg-type]
    if network is not None:
        assert found.task.base is not None
        take_in(found.task.base, network)
    return found


def digits(source: str) -> Dataset:
    return load_dataset(source, None)


def base_weights(store: Store, planned: Planned) -> dict[str, Tensor]:
    """The base of a run, by the names in it."""
    found = load_file(store.folder(planned.task.spec) / "checkpoint.safetensors")
    return {name.removeprefix("base.network."): value for name, value in found.items() if name.startswith("base.")}


def test_a_run_is_fitted_as_the_suite_would(tiny: Suite, done: Store) -> None:
    """By its id or the beginning of that; a run that was fitted afterwards stands for the one it started from."""
    gan, refit = (plan_one(tiny, done, name).task.spec for name in ("gan-ns", "gan-ns+refit"))
    assert planned(tiny, done, gan.run_id).task.spec == refit
    assert planned(tiny, done, "digits/gan-ns/").task.spec == refit
    assert do(planned(tiny, done, gan.run_id)).state == "done"
    again = planned(tiny, done, refit.run_id)
    assert (again.task.spec, again.found.state) == (refit, "hit")
    warm = planned(tiny, done, gan.run_id, energy="warm").task.spec
    assert warm == plan_one(tiny, done, "gan-ns+warm").task.spec
    fewer = planned(tiny, done, gan.run_id, steps=5).task.spec
    assert fewer.config["refit"] == refit.config["refit"] | {"steps": 5}


@pytest.mark.parametrize("prefix", ["", "network.", "base.network."])
def test_a_file_becomes_a_run_that_needs_the_file_no_more(
    prefix: str, tiny: Suite, done: Store, tmp_path: Path
) -> None:
    gan = plan_one(tiny, done, "gan-ns")
    weights = base_weights(done, gan)
    path = tmp_path / "weights.safetensors"
    save_file({prefix + name: value for name, value in weights.items()}, path)
    found = planned(tiny, done, path)
    path.unlink()
    assert found.task.base is not None
    assert done.lookup(found.task.base).state == "hit"
    assert do(found).state == "done"
    kept = base_weights(done, found)
    assert kept.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in kept.items())


def test_a_function_makes_a_generator_of_its_own_architecture(tiny: Suite, store: Store) -> None:
    found = planned(tiny, store, f"{__name__}:own_of_six", latent=6)
    assert do(found).state == "done"
    assert torch.equal(base_weights(store, found)["dense.weight"], Own(6).dense.weight)
    assert found.task.spec != planned(tiny, store, f"{__name__}:own_of_six", latent=6, seed=1).task.spec


def test_an_energy_on_it_is_not_stale_for_the_libraries_that_took_it_in(tiny: Suite, store: Store) -> None:
    found = planned(tiny, store, f"{__name__}:Own")
    assert found.task.base is not None
    folder = store.folder(found.task.base.spec)
    training = folder.read_json("training.json")
    assert training
    training["stage"]["versions"]["torch"] = "0"
    folder.write_json("training.json", training)
    (folder / "status.json").unlink()
    assert do(found).state == "done"
    assert planned(tiny, store, f"{__name__}:Own").found.stale == ""


def test_lost_weights_are_said_and_put_back(tiny: Suite, store: Store) -> None:
    found = planned(tiny, store, f"{__name__}:Own")
    assert found.task.base is not None
    path = store.folder(found.task.base.spec) / "checkpoint.safetensors"
    path.write_bytes(b"")
    assert "the store has lost the weights of this generator" in do(found).reason
    assert do(planned(tiny, store, f"{__name__}:Own")).state == "done"


def test_no_suite_can_train_it(tiny: Suite, store: Store) -> None:
    for name in ("own-generator", "own-generator+refit"):
        with pytest.raises(
            SuiteError, match="own-generator is trained elsewhere; `bench refit` takes such a generator"
        ):
            plan_one(tiny, store, name)


class Odd(Own):
    """A generator with something wrong after its end."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.change = change

    def forward(self, z: Tensor) -> Tensor:
        return self.change(super().forward(z))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Own(5), r"does not take latents of shape \(n, 4\), see --latent"),
        (Own().double(), "is in float64; make it float32"),
        (Own(end=torch.sigmoid), "as if from a sigmoid; images are in .* return 2x − 1"),
        (Odd(lambda x: 1.001 * x.sign() + 0 * x), "values go from -1 to 1; images are in|values go from"),
        (Odd(lambda x: x * torch.nan), "values go from nan to nan"),
        (Odd(lambda x: x.flatten(1)), "makes 64; the dataset's images are 1×8×8"),
        (Odd(lambda x: (x, x)), "makes a tuple"),
        (Odd(lambda x: x.half()), "makes float16 images"),
        (Odd(lambda x: x.detach()), "no gradient flows through the generator"),
    ],
)
def test_what_cannot_be_a_base_is_said(network: nn.Module, message: str) -> None:
    with pytest.raises(GeneratorError, match=message):
        checked(network, LATENT, SHAPE)


def test_rounding_beyond_one_is_no_fault() -> None:
    checked(Odd(lambda x: x * (1 + 1e-6)), LATENT, SHAPE)


def test_weights_that_do_not_fit_are_named() -> None:
    own = Own().state_dict()
    with pytest.raises(GeneratorError, match=r"missing: dense\.bias; unknown: other$"):
        with_weights(Own(), {"dense.weight": own["dense.weight"], "other": own["dense.bias"]})
    with pytest.raises(GeneratorError, match=r"of another shape: dense\.weight \(is 64×2, must be 64×4\)$"):
        with_weights(Own(), own | {"dense.weight": own["dense.weight"][:, :2]})
    with pytest.raises(GeneratorError, match=r"in float64: dense\.bias$"):
        with_weights(Own(), own | {"dense.bias": own["dense.bias"].double()})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:make", "PYTHONPATH"),
        (":nothing", "has no attribute"),
        (":number", "makes a int; it must make a"),
    ],
)
def test_what_cannot_be_imported_is_said(name: str, message: str) -> None:
    with pytest.raises(GeneratorError, match=message):
        imported(f"{__name__}{name}" if name.startswith(":") else name)


@pytest.mark.parametrize(
    ("generator", "asked", "message"),
    [
        ("digits/nosuch", {}, "no run 'digits/nosuch' in .*; a generator may also be a file"),
        ("digits/g", {}, "2 runs go by 'digits/g', write more of one: digits/gan-ns/.*, digits/gebm/"),
        ("digits/gan-ns/", {"seed": 3}, "--seed 3: digits/gan-ns/.* has seed 0"),
        ("digits/gan-ns/", {"latent": 3}, "--latent is for a generator from elsewhere"),
        ("digits/gebm/", {"energy": "warm"}, "gebm has no discriminator of the energy's structure"),
        (f"{__name__}:Own", {"energy": "warm"}, "a generator from elsewhere has no discriminator"),
        (f"{__name__}:Own", {"dataset": "known-density-8"}, "is no dataset of images"),
    ],
)
def test_what_does_not_go_together_is_said(
    generator: str, asked: dict[str, object], message: str, tiny: Suite, done: Store
) -> None:
    with pytest.raises(RefitError, match=message):
        planned(tiny, done, generator, **asked)


def test_a_run_without_a_generator_is_refused(tiny: Suite, done: Store) -> None:
    data = plan_one(tiny, done, "data")
    assert do(data).state == "done"
    with pytest.raises(RefitError, match="data has no generator to fit an energy on"):
        planned(tiny, done, data.task.spec.run_id)


def test_a_dataset_must_have_a_validation_split_and_be_the_runs_own(tiny: Suite, done: Store) -> None:
    def loader(**changes: object) -> Callable[[str], Dataset]:
        return lambda source: replace(digits(source), **changes)

    places, splits = Places(done.root, device="cpu"), digits("digits").splits
    bare = loader(splits={name: value for name, value in splits.items() if name != "validation"})
    with pytest.raises(SuiteError, match="has no validation split, which picks the energy of own-generator"):
        plan_refit(tiny, Refit(f"{__name__}:Own"), places, bare)
    other = loader(splits=dict(splits) | {"train": splits["train"][:50]})
    with pytest.raises(RefitError, match=r"digits is not the dataset that digits/gan-ns/.* was trained on"):
        plan_refit(tiny, Refit("digits/gan-ns/"), places, other)


def test_a_suite_that_fits_no_energy_asks_for_steps(tiny: Suite, done: Store) -> None:
    suite = changed(tiny, "refit", steps=0)
    with pytest.raises(RefitError, match="suite 'tiny' fits no energy in its profile quick; name --steps"):
        planned(suite, done, "digits/gan-ns/")
    assert planned(suite, done, "digits/gan-ns/", steps=3).task.spec.config["refit"]["steps"] == 3
