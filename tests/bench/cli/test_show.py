"""One run looked at, sampled and taken elsewhere, as a user does it."""

from __future__ import annotations

import ast
import hashlib
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import bench as package
from bench.cli.show import plot
from bench.core.campaign import Campaign
from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.core.suite import Suite
from bench.results.weights import WeightsError

from ..conftest import plan_one
from .conftest import bench


def run_of(store: Store, model: str) -> RunFolder:
    (folder,) = (store.root / "runs/digits" / model).iterdir()
    return RunFolder(folder)


def size_of(picture: Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def test_a_run_is_shown_whole_and_without_torch(done: Store) -> None:
    script = (
        "import sys; from click.testing import CliRunner; from bench.cli import main\n"
        f"found = CliRunner().invoke(main, ['show', 'gebm/', '--store', {str(done.root)!r}])\n"
        "assert found.exit_code == 0, found.output\n"
        "assert 'torch' not in sys.modules\n"
        "print(found.output)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    run = run_of(done, "gebm")
    assert f"digits/gebm/{run.path.name}  done" in found
    for words in ("all 80 steps", "base_steps=60", "current", "refit, step", "energy_loss", "held_out_gain", "fd ↓"):
        assert words in found
    assert "ula β=1 (model), step 0.01, 4 steps" in found
    assert "held-out images" in found  # the key of the scores
    assert "UTC  done" in found
    assert f'bench.load_model("{run.path}")' in found
    pictures = [line.partition(": ")[2] for line in found.splitlines() if line.endswith(".png")]
    assert len(pictures) == 2  # the base, and the chain at its longest
    assert size_of(Path(pictures[0])) == (8 * 33 - 1, 8 * 33 - 1)


def test_a_folder_of_any_name_can_be_copied_from_how_to_load_it(done: Store, tmp_path: Path) -> None:
    store = Store(done.root.rename(tmp_path / 'it\'s "mine"'))
    lines = dict(
        line.split(": ", 1) for line in bench("show", "gebm", "--store", store.root).stdout.splitlines()[-3:-1]
    )
    folder = str(run_of(store, "gebm").path)
    assert ast.literal_eval(lines["python"].partition("load_model")[2]) == folder
    assert shlex.split(lines["shell"])[2] == folder


def test_all_that_is_shown_is_there_as_json(done: Store) -> None:
    found = json.loads(bench("show", "gan-ns", "--json", "--store", done.root).stdout)
    curve = (run_of(done, "gan-ns") / "curve.jsonl").read_text().splitlines()
    assert found["curve"] == [json.loads(line) for line in curve]
    assert found["spec"]["model"] == "gan-ns"
    assert [row["sampler"] for row in found["scores"]] == ["base"]
    assert {stage["changed"] for stage in found["stages"]} == {""}


def test_a_failure_shows_why_and_where(done: Store) -> None:
    folder = run_of(done, "gebm")
    status = folder.read_json("status.json")
    assert status is not None
    for name in ("training.json", "status.json"):
        (folder / name).unlink()
    folder.log("Traceback (most recent call last): …\nZeroDivisionError: by zero")
    failed = {"state": "failed", "reason": "error: by zero", "files": {}, "steps_done": 0, "steps_asked": 80}
    folder.write_json("status.json", status | failed)
    found = bench("show", "gebm", "--store", done.root).stdout
    assert "failed: error: by zero" in found
    assert "ZeroDivisionError: by zero" in found
    assert "Load it" not in found


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ([0.0, 1.0, 2.0, 3.0], ["▁▃▆█"]),
        ([3.0, 3.0], ["▄▄"]),
        ([1.0, 1.0, 9.0, 9.0], ["▁▁██"]),
        ([2.0], ["▄"]),
    ],
)
def test_a_plot_has_the_shape_of_its_values(values: list[float], lines: list[str]) -> None:
    assert plot(values, 10, 1) == lines


def test_many_points_are_averaged_into_the_columns_there_are() -> None:
    low, high = plot([0.0, 0.0, 2.0, 2.0, 1.0, 1.0], 3, 2)[::-1]
    assert low == "▁██"
    assert high == " █▁"


def test_samples_are_written_in_every_form(done: Store, tmp_path: Path) -> None:
    options = ("--store", done.root, "--n", 10, "--device", "cpu")
    said = bench("sample", "gebm", *options, "--steps", 3, "--beta", 1, "--out", tmp_path / "new" / "x.npz").stdout
    assert "10 samples of digits/gebm/" in said
    assert "ula, 3 steps of 0.01 at β=1, mean energy" in said
    with np.load(tmp_path / "new" / "x.npz") as found:
        shapes = {name: found[name].shape for name in found}
    assert shapes == {"samples": (10, 1, 8, 8), "latents": (10, 4), "energy": (10,)}
    assert "the base alone" in bench("sample", "gan-ns", *options, "--out", tmp_path / "x.npy").stdout
    assert np.load(tmp_path / "x.npy").dtype == np.uint8
    bench("sample", "gebm", *options, "--steps", 2, "--out", tmp_path / "x.png")
    assert size_of(tmp_path / "x.png") == (8 * 33 - 1, 2 * 33 - 1)


def test_the_calibrated_temperature_is_the_stored_one(done: Store, tmp_path: Path) -> None:
    run = RunFolder(run_of(done, "gebm").path)
    evaluations = [json.loads(path.read_text()) for path in (run / "evals").glob("*.json")]
    (stored,) = (row["beta"] for each in evaluations for row in each["rows"] if row.get("beta_rule") == "calibrated")
    options = ("--store", done.root, "--steps", 2, "--out", tmp_path / "x.npy")
    for beta in ((), ("--beta", "calibrated")):
        assert f"at β={stored:.4g}," in bench("sample", "gebm", *options, *beta).stdout


def test_what_was_published_loads_by_itself(done: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, run = tmp_path / "published", run_of(done, "gebm")
    before = package.load_model(run.path)
    said = bench("publish", "gebm", "--to", out, "--store", done.root).stdout
    assert f"digits/gebm/{run.path.name}: model.safetensors, samples.png, README.md, config.json in {out}" in said
    for path in done.root.rglob("*.json"):
        path.unlink()
    after = package.load_model(out)
    assert isinstance(after, torch.nn.Module)
    assert isinstance(before, torch.nn.Module)
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    bench("sample", out, "--n", 2, "--steps", 2, "--out", tmp_path / "x.npy")
    monkeypatch.chdir(out)
    (code,) = (part.partition("```")[0] for part in (out / "README.md").read_text().split("```python\n")[1:])
    made: dict[str, object] = {}
    exec(compile(code, "card", "exec"), made)
    assert made["x"].shape == (64, 1, 8, 8)  # type: ignore[attr-defined]


def test_the_card_says_what_the_scores_depend_on_and_what_they_do_not_say(done: Store, tmp_path: Path) -> None:
    bench("publish", "gan-ns", "--to", tmp_path, "--store", done.root)
    card = (tmp_path / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    values = {key: json.loads(value) for key, _, value in (line.partition(": ") for line in head.splitlines())}
    (index,) = values["model-index"]
    (metric,) = index["results"][0]["metrics"]
    (row,) = json.loads(bench("show", "gan-ns", "--json", "--store", done.root).stdout)["scores"]
    assert metric["value"] == row["scores"][f"{metric['type']}[digits-cnn]"]
    assert metric["args"]["key"] == row["key"]
    spec = run_of(done, "gan-ns").read_json("spec.json")
    assert spec is not None
    for words in ("# gan-ns on digits", spec["dataset_digest"], "one run of one seed", "model.sample(n, "):
        assert words in body
    assert str(done.root) not in card + (tmp_path / "config.json").read_text()  # no path of this machine


def test_a_damaged_publication_is_refused(done: Store, tmp_path: Path) -> None:
    bench("publish", "gan-ns", "--to", tmp_path / "out", "--store", done.root)
    weights = tmp_path / "out" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(WeightsError, match=r"model.safetensors is corrupt"):
        package.load_model(tmp_path / "out")
    weights.unlink()
    refused = bench("sample", tmp_path / "out", "--out", tmp_path / "x.npy", code=1).stderr
    assert refused.endswith("model.safetensors is missing\n")


def test_code_that_a_published_folder_names_is_not_called(done: Store, tmp_path: Path) -> None:
    bench("publish", "gan-ns", "--to", tmp_path / "out", "--store", done.root)
    config = RunFolder(tmp_path / "out").read_json("config.json")
    assert config is not None
    config["model"]["spec"]["config"]["generator"] = "builtins:breakpoint"
    RunFolder(tmp_path / "out").write_json("config.json", config)
    with pytest.raises(
        WeightsError, match="is code of its own, builtins:breakpoint, which a published model cannot name"
    ):
        package.load_model(tmp_path / "out")


def curve_of(run: RunFolder) -> set[tuple[str, int, str, float]]:
    points = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return {
        (point["phase"], point["step"], name, value)
        for point in points
        for name, value in point.items()
        if name not in ("phase", "step")
    }


@pytest.fixture
def listed(tiny: Suite, done: Store) -> Store:
    """The store with a manifest, as a `bench run` writes it."""
    plans = [plan_one(tiny, done, model) for model in ("gebm", "gan-ns")]
    Campaign(tiny, "quick", plans, done, 1).remember()
    return done


def test_curves_are_exported_point_by_point(listed: Store, tmp_path: Path) -> None:
    out = tmp_path / "curves.csv"
    bench("export", out, "--curves", "--run", "gebm/", "--store", listed.root)
    frame = pd.read_csv(out)
    found = set(frame[["phase", "step", "quantity", "value"]].itertuples(index=False, name=None))
    assert found == curve_of(run_of(listed, "gebm"))
    about = json.loads((tmp_path / "curves-croissant.json").read_text())
    (file,) = about["distribution"]
    assert file["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert [field["name"] for field in about["recordSet"][0]["field"]] == list(frame.columns)
    refused = bench("export", out, "--curves", "--run", "nosuch", "--store", listed.root, code=2).stderr
    assert "no run with 'nosuch' in its id" in refused


def test_tensorboard_finds_every_point_and_score(listed: Store, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):  # what is there is replaced
        assert "2 runs" in bench("export", tmp_path / "events", "--to", "tensorboard", "--store", listed.root).stdout
    run = run_of(listed, "gebm")
    events = accumulator.EventAccumulator(str(tmp_path / "events" / "digits" / "gebm" / run.path.name)).Reload()
    tags = events.Tags()["scalars"]
    found = {
        (*tag.split("/"), event.step, event.value)
        for tag in tags
        if not tag.startswith("scores")
        for event in events.Scalars(tag)
    }
    expected = {(phase, name, step, float(np.float32(value))) for phase, step, name, value in curve_of(run)}
    assert found == expected
    (base,) = events.Scalars("scores/fd[digits-cnn]/base")
    stored = json.loads(bench("show", "gebm", "--json", "--store", listed.root).stdout)["scores"][0]["scores"]
    assert base.value == pytest.approx(stored["fd[digits-cnn]"])


@pytest.mark.parametrize("tool", ["tensorboard", "wandb"])
def test_a_tool_that_is_not_there_is_named_with_its_extra(
    tool: str, listed: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    refused = bench("export", tmp_path / "out", "--to", tool, "--store", listed.root, code=2).stderr
    assert f"pip install 'gebm-bench[{tool}]'" in refused


def test_the_completion_of_a_run_is_its_id(done: Store) -> None:
    from bench.cli.completion import run_ids

    assert run_ids(done.root, "digits/ge") == [f"digits/gebm/{run_of(done, 'gebm').path.name}"]
