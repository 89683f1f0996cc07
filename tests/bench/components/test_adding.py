"""The blocks of docs/adding.md, run as they are, as somebody else's package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from bench.components import registry
from bench.components.settings import make
from bench.core.plan import Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Places
from bench.metrics import classifier
from gebm.base import Base, GaussianPrior
from gebm.model import GEBM
from gebm.samplers import chain

from ..conftest import TINY

PAGE = Path(__file__).parents[3] / "docs" / "adding.md"
LIMITS = {"datasets": 10, "samplers": 40, "networks": 60, "metrics": 25, "models": 60, "objectives": 60}
NAMES = {
    "datasets": {"stripes": "stripes"},
    "samplers": {"barker": "Barker"},
    "metrics": {"confidence": "confidence"},
    "objectives": {"least-squares": "LeastSquares"},
    "models": {"gan-ls": "LeastSquaresGAN", "pixel-gaussian": "PixelGaussian"},
    "networks": {"linear": "Linear"},
}


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's blocks as one module, named in entry points."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "house_guests.py").write_text("\n".join(blocks))
    monkeypatch.syspath_prepend(tmp_path)

    def points(group: str) -> list[EntryPoint]:
        kind = group.removeprefix("gebm_bench.")
        return [EntryPoint(name, f"house_guests:{value}", group) for name, value in NAMES.get(kind, {}).items()]

    monkeypatch.setattr(registry, "entry_points", lambda group: points(group))
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def test_the_blocks_are_as_short_as_promised() -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        kinds = set(re.findall(r'component\("(\w+)"', block))
        body = block[block.index("@component") :].strip().splitlines()
        assert len(body) <= min(LIMITS[kind] for kind in kinds), block


@pytest.mark.usefixtures("guests")
def test_guests_are_listed_without_being_imported() -> None:
    for kind, names in NAMES.items():
        for name in names:
            entry = registry.entries(kind)[name]  # type: ignore[index]
            assert entry.origin
            assert not entry.summary.startswith("from ")


@pytest.mark.usefixtures("guests")
def test_guests_join_a_comparison(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A foreign dataset, network family, objective, sampler and metric in one suite, beside a model without networks."""
    monkeypatch.setattr(classifier, "default_steps", lambda size, channels: 5)
    suite = TINY.replace('"digits"', '"stripes"').replace(
        '"gebm", "gan-hinge", "gan-ns"', '"gebm", "gan-ls", "pixel-gaussian"'
    )
    suite = suite.replace(
        'family = "mlp"\nlatent = 4\ngenerator_widths = [16]\ndiscriminator_widths = [16]', 'family = "linear"'
    )
    suite = suite.replace('sampler = "ula"', 'sampler = "barker"').replace(
        "samples = 100\n", 'samples = 100\nmetrics = ["fid", "confidence"]\n', 1
    )
    (tmp_path / "guests.toml").write_text(suite)
    plans = make_plan(load_suite(str(tmp_path / "guests.toml")), Selection(seeds=[0]), Places(store.root, device="cpu"))
    assert [p.task.spec.model for p in plans] == ["gebm", "gan-ls", "pixel-gaussian", "data"]
    for p in plans:
        assert execute(p.task, lambda _: None, lambda: False).state == "done"
        training = store.folder(p.task.spec).training()
        assert training is not None
        scores = store.folder(p.task.spec).read_json(
            f"evals/{p.task.readouts[0].identity(training['checkpoint'])}.json"
        )
        assert scores is not None
        assert {name.partition("[")[0] for name in scores["rows"][0]["scores"]} == {"fd", "confidence"}
        if p.task.spec.model == "pixel-gaussian":  # nothing says that it has networks or an energy
            assert training["capabilities"] == ["samples"]
            assert training["facts"]["parameters"] == training["facts"]["architecture"] == {}
        if p.task.spec.model == "gebm":
            assert training["capabilities"] == ["samples", "latent-chains"]
            assert "house_guests" in p.task.training.code
            assert "house_guests" in p.task.reading[1].code  # the sampler's


@pytest.mark.usefixtures("guests")
def test_the_sampler_of_the_page_is_exact() -> None:
    """At β = 0 its chains follow N(0, I): the variance over 4,000 chains lies within 4 of its standard errors (6e-5 by chance)."""
    sampler = make("samplers", "barker", {"step_size": 1.0})
    base = Base(torch.nn.Linear(2, 2), GaussianPrior(2))
    potential = GEBM(base, torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))).potential(0.0)
    generator = torch.Generator().manual_seed(0)
    for _, state, _ in chain(sampler, potential, torch.full((4000, 2), 0.5), [100], generator):
        z = state.position.z
    assert abs(float(z.var()) - 1) < 4 * (2 / 8000) ** 0.5
