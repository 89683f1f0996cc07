"""Other settings than a profile's: what they make is another run, labelled, or the same run where they change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.campaign import Campaign
from bench.core.manifests import read_manifest
from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, SuiteError, load_suite
from bench.core.task import Places
from bench.core.variants import SettingError

from ..conftest import TINY


def planned(suite: Suite[Any], folder: Path, **chosen: Any) -> list[Planned]:
    return make_plan(suite, Selection(**{"seeds": [0], **chosen}), Places(folder / "store", folder, device="cpu"))


def labels(plans: list[Planned]) -> list[str]:
    return [p.label for p in plans]


def with_variants(folder: Path, variants: str) -> Suite[Any]:
    path = folder / "varied.toml"
    path.write_text(TINY + variants)
    return load_suite(str(path))


def test_a_setting_makes_other_runs_of_the_models_that_it_concerns(tiny: Suite[Any], tmp_path: Path) -> None:
    plain = {p.label: p.task.spec for p in planned(tiny, tmp_path)}
    changed = planned(tiny, tmp_path, settings={"refit.steps": 30})
    assert labels(changed) == ["gebm[steps=30]", "gan-hinge", "gan-ns", "data"]
    gebm, gan = changed[0].task.spec, changed[1].task.spec
    assert gan == plain["gan-hinge"]
    assert gebm.config == {**plain["gebm"].config, "refit": {**plain["gebm"].config["refit"], "steps": 30}}
    assert (gebm.model, gebm.seed, gebm.base_seed) == ("gebm", 0, plain["gebm"].base_seed)


def test_a_setting_that_is_the_profiles_own_changes_nothing(tiny: Suite[Any], tmp_path: Path) -> None:
    same = planned(tiny, tmp_path, settings={"training.base_steps": 60, "network": {**tiny.profiles["quick"].network}})
    assert [p.task for p in same] == [p.task for p in planned(tiny, tmp_path)]
    assert labels(same) == ["gebm", "gan-hinge", "gan-ns", "data"]


def test_a_sweep_is_over_all_combinations_and_does_what_is_common_once(tiny: Suite[Any], tmp_path: Path) -> None:
    sweeps = {"training.penalty": (0.1, 1.0), "refit.penalty": (0, 2)}
    found = labels(planned(tiny, tmp_path, models=["gebm", "gan-ns"], sweeps=sweeps))
    assert sorted(found) == sorted(
        [f"gebm[refit.penalty={b},training.penalty={a}]" for a in (0.1, 1.0) for b in (0, 2)]
        + ["gan-ns[refit.penalty=0,training.penalty=0.1]", "gan-ns"]
    )  # the profile's own penalty is 1, and a GAN has no refit


@pytest.mark.parametrize(
    ("settings", "sweeps", "message"),
    [
        ({"training.penlty": 1}, {}, "cannot set training.penlty: unknown key; did you mean 'penalty'?"),
        ({"trainig.penalty": 1}, {}, "cannot set trainig: unknown key; did you mean 'training'?"),
        ({"base_steps": 1}, {}, "cannot set base_steps: unknown key; did you mean 'training.base_steps'?"),
        ({"training.base_steps": "ten"}, {}, 'cannot set training.base_steps: must be a whole number .*, got "ten"'),
        ({"training.base_steps": 0}, {}, "base_steps must be a whole number from 1"),
        ({"training.base_steps.often": 1}, {}, "cannot set training.base_steps.often: base_steps is no table"),
        ({"network.width": 3}, {}, "network 'mlp' has no setting 'width'"),
        ({"network.family": "mpl"}, {}, "no network 'mpl'; did you mean 'mlp'?"),
        ({"evaluation.chains.4.beta": 1}, {}, "'4' is none of the numbers 0 to 0 of that list"),
        ({"seeds": [1]}, {}, "seeds is chosen with --seeds, not set"),
        ({}, {"models": (1, 2)}, "models is chosen with --model, not set"),
        ({}, {"evaluation.samples": (10, 20)}, "evaluation.samples makes no other run; set it"),
        ({"refit.steps": 1}, {"refit.steps": (1, 2)}, "refit.steps is both set and swept over"),
    ],
)
def test_what_cannot_be_set_is_said(
    tiny: Suite[Any], tmp_path: Path, settings: dict[str, Any], sweeps: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        planned(tiny, tmp_path, settings=settings, sweeps=sweeps)


def test_what_is_read_out_can_be_set_for_all(tiny: Suite[Any], tmp_path: Path) -> None:
    found = planned(tiny, tmp_path, settings={"evaluation.samples": 50, "evaluation.chains.0.lengths": [3]})
    assert labels(found) == ["gebm", "gan-hinge", "gan-ns", "data"]
    assert {readout.samples for p in found for readout in p.task.readouts if hasattr(readout, "samples")} == {50}
    (chain,) = (readout.chain for readout in found[0].task.readouts if hasattr(readout, "chain"))
    assert chain.lengths == (3,)


def test_a_manifest_says_what_was_set_where_it_makes_a_difference(tiny: Suite[Any], tmp_path: Path) -> None:
    settings = {"refit.steps": 30, "evaluation.samples": 50}
    listed = Campaign(tiny, "quick", planned(tiny, tmp_path, settings=settings), Store(tmp_path / "store").create(), 1)
    listed.remember()
    runs = {run["model"]: run for run in read_manifest(listed.store, "tiny", "quick")["runs"]}
    assert runs["gebm"]["changes"] == settings
    assert runs["gan-ns"]["changes"] == {"evaluation.samples": 50}, "a GAN has no refit"


VARIANTS = """
[[profiles.quick.variants]]
model = "gebm"
set = { training.penalty = 0.5 }

[[profiles.quick.variants]]
name = "small"
model = "gan-ns"
set = { network = { generator_widths = [8] }, "training.base_steps" = 30 }

[[profiles.quick.variants]]
name = "twin"
model = "gebm"
set.training.base_steps = 60
"""


def test_variants_of_a_file_stand_beside_its_models(tmp_path: Path) -> None:
    suite = with_variants(tmp_path, VARIANTS)
    everything = planned(suite, tmp_path)
    assert labels(everything) == [
        "gebm",
        "gan-hinge",
        "gan-ns",
        "data",
        "gebm[penalty=0.5]",
        "small",
    ]  # the twin is gebm
    small = everything[-1].task.spec
    assert small.model == "gan-ns"
    assert small.config["network"]["generator_widths"] == [8]
    assert small.config["network"]["discriminator_widths"] == [16]
    assert small.config["training"]["base_steps"] == 30
    assert labels(planned(suite, tmp_path, models=["small", "gebm"])) == ["small", "gebm"]
    assert labels(planned(suite, tmp_path, models=["small"], settings={"training.ema": 0.5})) == ["small[ema=0.5]"]


def test_variants_of_a_suite_are_in_every_profile(tmp_path: Path) -> None:
    path = tmp_path / "varied.toml"
    path.write_text(
        TINY.replace("[profiles.quick]", f"[[variants]]\n{VARIANTS.split(']]')[1].split('[[')[0]}[profiles.quick]")
    )
    assert labels(planned(load_suite(str(path)), tmp_path))[-1] == "gebm[penalty=0.5]"


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ('model = "gemb"\nset = { training.penalty = 1 }', "no model 'gemb'; did you mean 'gebm'?"),
        ('model = "gebm"\nset = { training.penlty = 1 }', "unknown key; did you mean 'penalty'?"),
        ('model = "gebm"\nset = { training.penalty = "1" }', 'must be a number from 0 to 1,000,000, got "1"'),
        ('model = "gebm"\nset = { evaluation.samples = 20 }', "evaluation is the same for all models of a profile"),
        ('model = "gebm"\nset = {}', "nothing is set"),
        ('model = "gebm"', "variants.0.set: required key is missing"),
        ('name = "gan-ns"\nmodel = "gebm"\nset = { training.penalty = 1 }', "'gan-ns' is taken"),
        ('model = "gebm"\nset = { network.widht = 1 }', "no setting 'widht'"),
    ],
)
def test_a_variant_that_cannot_be_is_refused(tmp_path: Path, variant: str, message: str) -> None:
    with pytest.raises(SuiteError, match=r"profiles.quick.variants.0") as refused:
        with_variants(tmp_path, f"[[profiles.quick.variants]]\n{variant}\n")
    assert message in str(refused.value)
    first = 1 + TINY.count("\n")
    assert int(str(refused.value).rpartition("(line ")[2].rstrip(")")) in range(first, first + 4)


def test_a_manifest_keeps_variants_until_the_suite_resolves_to_them_no_more(tmp_path: Path) -> None:
    store = Store(tmp_path / "store").create()
    suite = with_variants(tmp_path, VARIANTS)

    def remembered(suite: Suite[Any], **chosen: Any) -> set[str]:
        Campaign(suite, "quick", planned(suite, tmp_path, **chosen), store, 1).remember()
        return {run.get("label", run["model"]) for run in read_manifest(store, "tiny", "quick")["runs"]}

    swept = {f"gebm[ema={ema}]" for ema in (0.5, 0.6)}
    assert remembered(suite, models=["gebm"], sweeps={"training.ema": (0.5, 0.6)}) == swept
    assert remembered(suite, models=["small"]) == swept | {"small"}
    without = with_variants(tmp_path, "")
    assert remembered(without, models=["gan-ns"]) == swept | {"gan-ns"}
    longer = with_variants(tmp_path, "")
    longer = longer.model_copy(update={"base_seed": 1})
    assert remembered(longer, models=["gan-ns"]) == {"gan-ns"}


def test_a_model_that_fits_no_dataset_is_left_out_aloud(tiny: Suite[Any], tmp_path: Path) -> None:
    said: list[str] = []
    selection = Selection(models=["gebm", "kde"], seeds=[0])
    found = make_plan(tiny, selection, Places(tmp_path / "store"), warn=said.append)
    assert labels(found) == ["gebm"]
    assert said == ["left out: kde cannot be fitted to digits"]
