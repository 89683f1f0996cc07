"""Names of metrics, and the whole life of one that another package adds: listed, planned, computed, stored, reported."""

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.components import registry
from bench.core.runner import execute
from bench.core.suite import SuiteError, load_suite
from bench.metrics import DEFAULT_METRICS, METRICS, base_name, metric, qualified_name

from ..conftest import TINY, plan_one

SPREAD = '''
"""How far generated images scatter in feature space, beside how far the real ones do."""

from gebm.components import component


@component("metrics", "spread", "Scatter of generated images over that of real ones", direction="higher", unit="ratio")
def spread(sets):
    """Return the ratio of the root mean square distances to the mean feature."""
    generated, real = (each.embedding.var(0).sum().sqrt() for each in (sets.generated, sets.real))
    return float(generated / real)
'''


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Install a module of its own, of which each keyword names one metric by its attribute."""

    def install(module, source, **names):
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        points = [EntryPoint(name, f"{module}:{value}", "gebm_bench.metrics") for name, value in names.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "gebm_bench.metrics" else [])
        registry.entries.cache_clear()

    yield install
    registry.entries.cache_clear()


def test_the_catalogue_needs_no_torch():
    code = "import sys, bench.metrics; assert list(bench.metrics.METRICS); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_metrics_of_samples_come_first_and_the_frechet_distance_leads():
    assert list(METRICS)[:2] == ["fid", "fd"]
    about = [each.about for each in METRICS.values()]
    assert about == sorted(about, key=["samples", "density", "chains"].index)
    assert set(DEFAULT_METRICS) <= set(METRICS)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("extractor", ["inception-v3-compat", "digits-cnn"])
def test_every_reported_name_leads_back_to_its_metric(name, extractor):
    reported = qualified_name(name, extractor)
    assert metric(reported).direction == METRICS[name].direction
    assert base_name(reported) == metric(reported).name
    assert ("fid" in reported) <= (extractor == "inception-v3-compat"), "only Inception earns the name FID"


def test_an_unknown_metric_gets_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'recall'"):
        metric("recal[digits-cnn]")


def test_a_foreign_metric_is_listed_computed_stored_and_reported(register, store, tmp_path):
    register("spreading", SPREAD, spread="spread")
    runner = CliRunner()
    listed = runner.invoke(main, ["list", "metrics"]).output
    assert "Scatter of generated images" in listed
    assert "rhat" in listed, "what readouts of chains compute is listed, too"
    path = tmp_path / "own.toml"
    path.write_text(
        TINY.replace("[profiles.quick.evaluation]", '[profiles.quick.evaluation]\nmetrics = ["kid", "spread"]')
    )
    planned = plan_one(load_suite(str(path)), store, model="data")
    assert execute(planned.task, lambda _: None, lambda: False).state == "done"
    (stored,) = store.folder(planned.task.spec).path.glob("evals/*.json")
    scores = json.loads(stored.read_text())["rows"][0]["scores"]
    assert list(scores) == ["kid[digits-cnn]", "spread[digits-cnn]"]
    assert scores["spread[digits-cnn]"] == pytest.approx(1, abs=0.2), "held-out digits scatter like digits"
    found = metric("spread[digits-cnn]")
    assert (found.direction, found.unit, found.about) == ("higher", "ratio", "samples"), "what tables ask"
    readouts = plan_one(load_suite(str(path)), store, model="gebm").task.readouts
    assert readouts[0].metrics == ("kid", "spread")
    assert "spreading" in plan_one(load_suite(str(path)), store, model="gebm").task.reading[0].code, "its code counts"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("metrics", '["kid", "spreed"]', r"evaluation\.metrics: no metric 'spreed'"),
        ("metrics", '["rhat"]', "no metric 'rhat'"),
        ("metrics", '["kid", "kid"]', "nothing may be listed twice"),
        (
            "extractor",
            '"inception"',
            r"evaluation\.extractor: no extractor 'inception'; did you mean 'inception-v3-compat'",
        ),
    ],
)
def test_what_a_suite_cannot_score_by_is_refused_when_it_is_read(tmp_path, key, value, message):
    path = tmp_path / "own.toml"
    kept = [line for line in TINY.splitlines() if not line.startswith(f"{key} =")]
    path.write_text(
        "\n".join(kept).replace("[profiles.quick.evaluation]", f"[profiles.quick.evaluation]\n{key} = {value}")
    )
    with pytest.raises(SuiteError, match=message):
        load_suite(str(path))


def test_a_foreign_metric_cannot_take_a_name_of_the_harness(register):
    for name in ("kid", "rhat"):
        register("taking", "def own(sets): return 0.0", **{name: "own"})
        with pytest.raises(registry.PluginError, match=name):
            metric("recall")
