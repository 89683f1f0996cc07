"""Bases kept during training: scored like the trained one, lost by no interruption, in no table but their own; and what is said of them."""

from __future__ import annotations

import dataclasses
import io
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.claims import judge, load_claims
from bench.components.settings import make
from bench.core import runner
from bench.core.campaign import Campaign
from bench.core.model import seeded
from bench.core.plan import Planned
from bench.core.store import Store
from bench.core.suite import Suite
from bench.images.attribution import two_by_two
from bench.images.blocks import blocks, difference_table, score_table
from bench.images.convergence import base_curves, energy_curves, training_marks, training_sentences
from bench.images.snapshots import SnapshotTraining
from bench.images.training_curves import base_figure, base_table, draw_bases, energy_table
from bench.images.verdict import energy_verdict
from bench.report import render
from bench.results.frame import scan
from bench.results.sources import records
from bench.stats import t_quantile
from gebm.base import Base, GaussianPrior
from gebm.objectives import Kale
from gebm.settings import TrainingSettings
from gebm.stream import DataStream
from gebm.training import AlternatingTraining

from ..conftest import changed, do, plan_one
from ..core.test_runner import built, numbers, stops_until_done
from ..core.test_unfinished import leave_off
from .test_worth import column


def with_curve(suite: Suite) -> Suite:
    return changed(suite, "evaluation", training_curve=True)


def readout(store: Store, planned: Planned, kind: str) -> dict[str, Any]:
    """The result of a run's readout of this kind."""
    (asked,) = (each for each in planned.task.readouts if each.model_dump()["kind"] == kind)
    folder = store.folder(planned.task.spec)
    checkpoint = json.loads((folder / "training.json").read_text())["checkpoint"]
    return json.loads((folder / "evals" / f"{asked.identity(checkpoint)}.json").read_text())  # type: ignore[no-any-return]


def trained(store: Store, planned: Planned) -> dict[str, Any]:
    """The curve and the weights of a run, without its readouts."""
    found = numbers(store, planned.task)
    return {name: value for name, value in found.items() if not name.endswith((".json", ".npy"))}


@pytest.mark.parametrize("model", ["gebm", "gan-ns"])
def test_a_training_that_keeps_bases_is_the_same_training(
    tiny: Suite, store: Store, finished: Store, model: str
) -> None:
    """Bit for bit, though it is stopped at every 17th look; and what was kept is lost by none of these stops."""
    planned = plan_one(with_curve(tiny), store, model)
    plain = plan_one(tiny, finished, model)
    assert planned.task.spec.config == plain.task.spec.config | {"snapshots": [7, 15, 30]}
    assert stops_until_done(planned.task, 17) >= 3
    own, without = (trained(where, plan) for where, plan in ((store, planned), (finished, plain)))
    assert {name: own[name] for name in without} == without
    kept = {name.replace("base.", f"base@{n}.", 1) for name in without if name.startswith("base.") for n in (7, 15, 30)}
    assert own.keys() - without.keys() == kept


def sngan_training() -> SnapshotTraining:
    """Five steps of convolutions with batch norm, channels last, that keep the base after the second and the fourth."""
    family = make("networks", "sngan", {"latent": 4, "width": 2})
    with seeded(0):
        base, critic = Base(family.generator((3, 16, 16)), GaussianPrior(4)), family.discriminator((3, 16, 16))
    for module in (base, critic):
        module.to(memory_format=torch.channels_last)
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    data = DataStream(torch.randn(32, 3, 16, 16, generator=generators[0]), 8, generators[1])
    settings = TrainingSettings(base_steps=5, batch_size=8, ema=0.5, decay="linear")
    return SnapshotTraining(AlternatingTraining(base, critic, Kale(), data, generators[2], settings), (2, 4))


def test_normalised_bases_come_back_with_their_bits_and_layout() -> None:
    whole, stopped, continued = sngan_training(), sngan_training(), sngan_training()
    while whole.done < whole.total:
        whole.step()
    for _ in range(3):
        stopped.step()
    saved = io.BytesIO()
    torch.save(stopped.state_dict(), saved)
    saved.seek(0)
    continued.load_state_dict(torch.load(saved, weights_only=True))
    while continued.done < continued.total:
        continued.step()
    z = torch.randn(4, 4)
    for one, other in zip(whole.snapshots.values(), continued.snapshots.values(), strict=True):
        assert torch.equal(one(z), other(z))
        assert one(z).stride() == other(z).stride()
    assert [*continued.snapshots] == [2, 4]


def test_interruptions_change_nothing_of_what_is_kept(tiny: Suite, make_store: Any) -> None:
    whole, pieces = make_store("whole"), make_store("pieces")
    suite = with_curve(tiny)
    expected = plan_one(suite, whole, "gan-ns")
    assert do(expected).state == "done"
    task = plan_one(suite, pieces, "gan-ns").task
    assert stops_until_done(task, 11) >= 3
    assert numbers(pieces, task) == numbers(whole, expected.task)


def test_at_a_constant_learning_rate_the_base_at_half_is_that_of_a_run_of_half_the_steps(
    tiny: Suite, store: Store
) -> None:
    """With the same weights, from the same latents, scored in the same way."""
    long = plan_one(with_curve(tiny), store, "gan-ns")
    short = plan_one(changed(tiny, "training", base_steps=30), store, "gan-ns")
    assert [do(each).state for each in (long, short)] == ["done", "done"]
    halfway, ended = (load_file(store.folder(each.task.spec) / "checkpoint.safetensors") for each in (long, short))
    for name in (name for name in ended if name.startswith("base.")):
        assert torch.equal(halfway[name.replace("base.", "base@30.", 1)], ended[name]), name
    curve, base = readout(store, long, "training-curve"), readout(store, short, "base")["rows"][0]
    assert [row["steps"] for row in curve["rows"]] == [7, 15, 30]
    same = ("scores", "key", "frechet_curve", "collapsed")
    assert {name: curve["rows"][-1][name] for name in same} == {name: base[name] for name in same}
    model = built(long.task)
    model.load(halfway)
    assert all(torch.equal(value, halfway[name]) for name, value in model.state().items())
    for base in model.snapshots.values():
        assert not any(module.training for module in base.modules())
        assert not any(weight.requires_grad for weight in base.parameters())


def test_only_bases_that_a_run_trains_are_kept_and_only_where_asked_for(tiny: Suite, store: Store) -> None:
    suite = changed(with_curve(tiny), longer_base_steps=80)
    for model, steps in (
        ("gan-ns+time", [10, 20, 40]),
        ("gebm-frozen-base", None),
        ("gan-ns+refit", None),
        ("data", None),
    ):
        task = plan_one(suite, store, model).task
        assert task.spec.config.get("snapshots") == steps, model
        assert ("training-curve" in {each.model_dump()["kind"] for each in task.readouts}) == (steps is not None)
    base = plan_one(suite, store, "gan-ns+refit").task.base
    assert base is not None
    assert base.spec == plan_one(suite, store, "gan-ns").task.spec
    assert "snapshots" not in plan_one(tiny, store, "gan-ns").task.spec.config


def test_an_energy_fitted_afterwards_starts_from_the_trained_base(tiny: Suite, store: Store, finished: Store) -> None:
    planned = plan_one(with_curve(tiny), store, "gan-ns+refit")
    assert do(planned).state == "done"
    own = load_file(store.folder(planned.task.spec) / "checkpoint.safetensors")
    before = load_file(finished.folder(plan_one(tiny, finished, "gan-ns").task.spec) / "checkpoint.safetensors")
    assert {name for name in own if name.startswith("base")} == {name for name in before if name.startswith("base.")}
    assert all(torch.equal(own[name], before[name]) for name in before if name.startswith("base."))


def test_an_unfinished_run_has_no_scores_of_steps_that_it_has_not_reached(
    tiny: Suite, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "scoring_time", lambda seconds: seconds - 0.2)
    planned = plan_one(changed(with_curve(tiny), "training", base_steps=1_000_000), store, "gan-ns")
    assert leave_off(planned.task, 120.0).scored
    assert readout(store, planned, "training-curve")["rows"] == []


def test_a_report_of_a_store_has_the_curves(tiny: Suite, store: Store) -> None:
    suite = with_curve(tiny)
    plans = [plan_one(suite, store, "gan-ns", seed) for seed in (0, 1)]
    assert [do(each).state for each in plans] == ["done", "done"]
    Campaign(suite, "quick", plans, store, 1).remember()
    results = scan(store)
    (section,) = results.sections()
    (curve,) = base_curves(section, "fd[digits-cnn]")
    for seed, each in enumerate(plans):
        rows = [*readout(store, each, "training-curve")["rows"], readout(store, each, "base")["rows"][0]]
        scores = {row["steps"] or 60: row["scores"]["fd[digits-cnn]"] for row in rows}
        assert {steps: own[seed] for steps, own in curve.points.items()} == scores
    page = render(results, "markdown")
    assert "Is the base trained to its end?" in page
    assert ("it is undertrained" in page) == curve.undertrained


# What a report says, on made-up studies.

STEPS, DECAY = 80, "linear"
SPEC = {"kind": "images", "dataset": "digits", "dataset_digest": "ab", "base_seed": 0, "threads": 1}
WOBBLE = (0.1, -0.2, 0.15)
IMPROVES = {10: 40.0, 20: 22.0, 40: 14.3, 80: 9.4}
SETTLED = {10: 40.0, 20: 22.0, 40: 20.0, 80: 20.0}


def config(model: str) -> dict[str, Any]:
    own = {
        "objective": "kale" if model == "gebm" else "non-saturating",
        "has_energy": model == "gebm",
        "training": {"base_steps": STEPS, "decay": DECAY},
        "refit": {"steps": 100, "check_every": 10, "patience": 3} if model == "gebm" else None,
    }
    if not model.endswith("+refit"):
        return own
    return own | {
        "energy": "refit",
        "has_energy": True,
        "training": None,
        "base": {"model": "gan-ns", "config": config("gan-ns")},
    }


def study(
    made: Any,
    folder: Path,
    curves: dict[str, dict[int, float]],
    seeds: int = 3,
    gains: dict[int, list[tuple[int, float]]] | None = None,
) -> Any:
    """A section of these models: score by base steps plus what a seed adds, and what the runs' refits found, by seed."""
    rows, facts = [], {}
    for model, curve in curves.items():
        for seed in range(seeds):
            run = f"digits-{model}-{seed}"
            where = folder / run
            where.mkdir(parents=True, exist_ok=True)
            looks = (gains or {}).get(seed, []) if model == "gebm" else []
            lines = [{"phase": "refit", "step": step, "held_out_gain": gain} for step, gain in looks]
            (where / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
            spec = SPEC | {"model": model, "config": config(model), "seed": seed}
            facts[run] = made.facts(seed, spec=spec, folder=where)
            for steps, value in curve.items():
                place = {} if steps == STEPS else {"sampler": "training", "steps": steps}
                rows.append(made.row(model, seed, **place, value=value + 2 * seed + WOBBLE[seed] * (steps == STEPS)))
            if model == "gebm" or model.endswith("+refit"):
                rows.append(made.row(model, seed, **made.chain(1.0, 10), value=curve[STEPS] - 1 + seed))
    return made.section(rows, facts)


def test_a_base_that_improves_over_its_second_half_is_undertrained(made: Any, tmp_path: Path) -> None:
    """And so is all that starts from it; the sentence holds the numbers of the rows."""
    models = {"gebm": SETTLED, "gan-ns": IMPROVES, "gan-ns+refit": {STEPS: 9.4}}
    section = study(made, tmp_path, models)
    assert training_marks(section) == {"gan-ns": "undertrained", "gan-ns+refit": "undertrained"}
    changes = [IMPROVES[80] - IMPROVES[40] + each for each in WOBBLE]
    mean, half = statistics.fmean(changes), t_quantile(0.95, 2) * statistics.stdev(changes) / 3**0.5
    expected = f"{mean:.2f} [{mean - half:.2f}, {mean + half:.2f}]".replace("-", "−")
    said = training_sentences(section)
    assert said[0] == (
        f"The base of gan-ns still improves: {made.FD} {14.3 + 2:.1f} → {9.4 + 2 + statistics.fmean(WOBBLE):.1f} ({expected}) over the "
        "second half of its 80 steps; it is undertrained."
    )
    assert said[1].startswith(
        f"No clear change in {made.FD} over the second half of the base's steps: gebm 22.0 → 22.0 ("
    )
    assert said == list(energy_verdict(section).lead)[-2:]
    assert column(score_table(section), "model") == [
        *["gebm"] * 2,
        "gan-ns ‡",
        *["gan-ns+refit ‡"] * 2,
    ]
    table = base_table(section)
    assert column(table, "reading") == ["no clear difference", "undertrained"]
    assert "Learning rates fall" in table.notes[-1]


def test_one_seed_has_no_verdict(made: Any, tmp_path: Path) -> None:
    section = study(made, tmp_path, {"gebm": IMPROVES}, seeds=1)
    (said,) = training_sentences(section)
    assert said.startswith("One seed, so no verdict on whether the base is trained to its end;")
    assert "gebm 14.3 → 9.50 (−4.80)" in said
    assert training_marks(section) == {}


def test_a_variant_alone_is_marked_too(made: Any, tmp_path: Path) -> None:
    variant = "gan-ns[base_steps=80]"
    found = study(made, tmp_path, {variant: IMPROVES})
    section = dataclasses.replace(found, runs=found.runs.assign(model="gan-ns"))
    assert training_marks(section) == {variant: "undertrained"}


def test_what_gets_worse_is_not_undertrained(made: Any, tmp_path: Path) -> None:
    section = study(made, tmp_path, {"gebm": IMPROVES | {40: 5.0}})
    assert training_sentences(section)[0].startswith(f"Worse in {made.FD} at the end than at half of the base's steps")
    assert training_marks(section) == {}


def test_bases_of_earlier_steps_are_in_no_other_block(made: Any, tmp_path: Path) -> None:
    """The report of a section with curves is that of the section without them, but for what is about curves."""
    curves = {"gebm": SETTLED, "gan-ns": SETTLED}
    with_them = study(made, tmp_path, curves)
    without = study(made, tmp_path, {model: {STEPS: curve[STEPS]} for model, curve in curves.items()})
    for part in (score_table, difference_table, two_by_two):
        assert part(with_them) == part(without)
    assert with_them.summary.equals(without.summary)
    assert with_them.losses == without.losses
    assert judge([with_them], load_claims()) == judge([without], load_claims())
    titles = [[block.title for block in blocks(each)] for each in (with_them, without)]
    assert [title for title in titles[0] if title not in titles[1]] == [
        "Score against training of the base",
        "Is the base trained to its end?",
    ]


def test_the_figure_has_a_line_per_model_that_ends_at_the_trained_base(made: Any, tmp_path: Path) -> None:
    section = study(made, tmp_path, {"gebm": SETTLED, "gan-ns": IMPROVES})
    assert base_figure(section) is not None
    (panel,) = draw_bases(section, [made.FD]).axes
    assert [list(line.get_xdata()) for line in panel.lines] == [[10, 20, 40, 80]] * 2
    bases = [row for row in records(section.counted) if row.sampler == "base"]
    ends = [statistics.fmean(row.value for row in bases if row.label == label) for label in ("gebm", "gan-ns")]
    assert [line.get_ydata()[-1] for line in panel.lines] == pytest.approx(ends)
    assert len(panel.collections) == 2
    assert base_figure(study(made, tmp_path, {"gebm": {STEPS: 20.0}})) is None


def looks(rise: float, until: int = 100) -> list[tuple[int, float]]:
    """Gains that rise by so much at every look up to step 50, and by a tenth of it from there on; none after `until`."""
    return [
        (step, rise * min(step, 50) / 10 + 0.1 * rise * max(step - 50, 0) / 10) for step in range(10, until + 1, 10)
    ]


def test_an_energy_whose_refit_ran_out_of_steps_while_it_gained_is_still_rising(made: Any, tmp_path: Path) -> None:
    gains = {seed: looks(0.1 + 0.001 * seed) for seed in range(3)}
    section = study(made, tmp_path, {"gebm": SETTLED}, gains=gains)
    (curve,) = energy_curves(section)
    assert (curve.ran_out, curve.rising) == ([0, 1, 2], True)
    change = curve.change.estimate
    assert change is not None
    assert change.mean == pytest.approx(0.05 + 0.0005)
    assert training_marks(section) == {"gebm": "energy still rising"}
    assert "ran out of its 100 steps, the second half of which added 0.0505 [" in training_sentences(section)[-1]
    table = energy_table(section)
    assert column(table, "reading") == ["energy still rising"]
    assert column(table, "ended by") == ["its steps in 3"]


def test_an_energy_that_ended_by_patience_or_stopped_gaining_is_not(made: Any, tmp_path: Path) -> None:
    flat = [*looks(0.1, 50), *((step, 0.4) for step in (60, 70, 80))]
    section = study(made, tmp_path, {"gebm": SETTLED}, gains=dict.fromkeys(range(3), flat))
    assert column(energy_table(section), "ended by") == ["patience in 3"]
    assert column(energy_table(section), "ended after") == ["80"]
    assert training_marks(section) == {}
    late = [
        *looks(0.1, 50),
        *((step, 0.4) for step in range(60, 110, 10)),
    ]  # of which patience would have ended it at 80
    section = study(made, tmp_path, {"gebm": SETTLED}, gains=dict.fromkeys(range(3), late))
    assert not energy_curves(section)[0].rising


def test_scores_of_another_key_are_not_on_the_curve(made: Any, tmp_path: Path) -> None:
    section = study(made, tmp_path, {"gebm": IMPROVES})
    section = dataclasses.replace(section, snapshots=section.snapshots.assign(key="another"))
    (curve,) = base_curves(section, made.FD)
    assert curve.change.estimate is None
    assert training_sentences(section) == []
