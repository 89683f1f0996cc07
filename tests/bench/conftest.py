"""A suite small enough to run in a second, and stores that already have its extractor."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.plan import Planned, Selection, make_plan
from bench.core.store import Store
from bench.core.suite import Suite, load_suite
from bench.core.task import Places

TINY = """
name = "tiny"
summary = "the images suite, too small to mean anything"

[profiles.quick]
datasets = ["digits"]
models = ["gebm", "gan-hinge", "gan-ns", "data"]
seeds = [0, 1]
minutes_per_run = 0.02

[profiles.quick.network]
family = "mlp"
latent = 4
generator_widths = [16]
discriminator_widths = [16]

[profiles.quick.training]
base_steps = 120
batch_size = 16
ema = 0.9
penalty_every = 4

[profiles.quick.refit]
steps = 40
batch_size = 16
check_every = 20
partition_samples = 64

[profiles.quick.evaluation]
samples = 100
partition_samples = 200

[[profiles.quick.evaluation.chains]]
sampler = "ula"
beta = 1
step_size = 1e-2
lengths = [2, 4]
"""


@pytest.fixture
def tiny_path(tmp_path: Path) -> Path:
    """The tiny suite as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def tiny(tiny_path: Path) -> Suite:
    """The tiny suite."""
    return load_suite(str(tiny_path))


@pytest.fixture(scope="session")
def extractor_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the digits' extractor, trained once for all tests."""
    from bench.data import load_dataset
    from bench.metrics.extractors import load_extractor

    cache = tmp_path_factory.mktemp("cache")
    load_extractor("digits-cnn", load_dataset("digits", None), cache, None)
    return cache


@pytest.fixture
def make_store(tmp_path: Path, extractor_cache: Path) -> Callable[[str], Store]:
    """Make a store of that name, its extractor in the cache."""

    def make(name: str) -> Store:
        store = Store(tmp_path / name).create()
        shutil.copytree(extractor_cache, store.cache, dirs_exist_ok=True)
        return store

    return make


@pytest.fixture
def store(make_store: Callable[[str], Store]) -> Store:
    """A store with nothing but the extractor."""
    return make_store("store")


def plan_one(suite: Suite, store: Store, model: str = "gebm", seed: int = 0) -> Planned:
    """The plan of a single run."""
    (planned,) = make_plan(suite, Selection(models=[model], seeds=[seed]), Places(store.root, device="cpu"))
    return planned
