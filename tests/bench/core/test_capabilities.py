"""A model is read out by what it says it can: a density of somebody else's package, in the suite of densities."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench.components import registry
from bench.core.plan import Selection, make_plan
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Places

from ..conftest import do
from ..densities.test_densities import SUITE

PPCA = '''
import torch
from bench.core.model import Model, tensors
from gebm.components import component
from torch import nn
from torch.distributions import LowRankMultivariateNormal

@component("models", "ppca", "probabilistic PCA (Tipping & Bishop, 1999) with 2 components", fits=("tabular",))
class PPCA(Model):
    """x = Wz + m + noise, by maximum likelihood in closed form."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.fitted = nn.Module()
        for name, shape in {"mean": self.dataset.shape, "factor": (*self.dataset.shape, 2), "noise": self.dataset.shape}.items():
            self.fitted.register_buffer(name, torch.zeros(shape))

    def modules(self):
        return {"fitted": self.fitted}

    def fit(self, session):
        rows = tensors(self.dataset, "train", self.device)
        values, vectors = torch.linalg.eigh(rows.T.cov())
        noise = values[:-2].mean()
        self.fitted.mean, self.fitted.noise = rows.mean(0), noise.expand(rows.shape[1]).contiguous()
        self.fitted.factor = vectors[:, -2:] * (values[-2:] - noise).sqrt()
SAMPLE
    @property
    def law(self):
        return LowRankMultivariateNormal(self.fitted.mean, self.fitted.factor, self.fitted.noise)

    def log_prob(self, rows):
        return self.law.log_prob(rows)
'''
SAMPLE = """
    def sample(self, count, generator):
        z, noise = (torch.randn(count, n, generator=generator) for n in (2, self.dataset.shape[0]))
        return self.fitted.mean + z @ self.fitted.factor.T + noise * self.fitted.noise.sqrt()
"""


@pytest.fixture(params=["with samples", "density only"])
def capabilities(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """What the guest can do, installed as a module of its own."""
    sampled = request.param == "with samples"
    module = f"guest_ppca_{sampled:d}"
    (tmp_path / f"{module}.py").write_text(PPCA.replace("SAMPLE", SAMPLE if sampled else ""))
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("ppca", f"{module}:PPCA", "gebm_bench.models")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    registry.entries.cache_clear()
    yield ["samples", "log-prob"] if sampled else ["log-prob"]
    registry.entries.cache_clear()


def test_a_density_of_tables_joins_with_what_it_can(capabilities: list[str], tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(SUITE)
    store = Store(tmp_path / "store").create()
    chosen = Selection(models=["flow-gaussian", "ppca"], seeds=[0])
    plans = make_plan(load_suite(str(tmp_path / "own.toml")), chosen, Places(store.root, device="cpu"))
    scores = {}
    for planned in plans:
        assert do(planned).state == "done"
        folder = store.folder(planned.task.spec)
        training = folder.training()
        assert training is not None
        found = folder.evaluation(planned.task.readouts[0].identity(training["checkpoint"]))
        assert found is not None
        (row,) = found["rows"]
        scores[planned.task.spec.model] = row["scores"]
        if (
            planned.task.spec.model == "ppca"
        ):  # it has no networks, no energy and no log Z, and nothing says that it has
            assert training["capabilities"] == capabilities
            assert not any(training["facts"].values())
            assert (row["log_partition"], row["likelihood"]["exact"]) == (None, True)
            assert any("samples" in name for name in found["files"]) == ("samples" in capabilities)
    assert scores["ppca"].keys() == scores["flow-gaussian"].keys() == {"log-likelihood", "gap-to-truth"}
    assert scores["ppca"]["gap-to-truth"] > 0
