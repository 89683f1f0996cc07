"""A suite small enough to run in a second, and stores that already have its extractor."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.plan import Planned, Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import Suite, load_suite
from bench.core.task import Outcome, Places

from ..faults.studies import cache_for

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
base_steps = 60
batch_size = 16
ema = 0.9
penalty_every = 4

[profiles.quick.refit]
steps = 20
batch_size = 16
check_every = 10
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

HOLE = re.compile(r"[:;,] *([;,)]|\.(?!\w)|$)|(?<!\w)\( *[:;,)]", re.MULTILINE)
"""Where a sentence ends or goes on before it has said what it was about to say, as in "(11 of 11; )"."""


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """What a test writes need not outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture
def tiny_path(tmp_path: Path) -> Path:
    """The tiny suite as a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def tiny(tiny_path: Path) -> Suite:
    """The tiny suite, scored by one metric."""
    return changed(load_suite(str(tiny_path)), "evaluation", metrics=("fid",))


@pytest.fixture(scope="session")
def extractor_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with an extractor of the digits that was trained in 200 steps."""
    return cache_for(tmp_path_factory.mktemp("cache"))


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


def plan_one(suite: Suite, store: Store, model: str = "gebm", seed: int = 0, **chosen: Any) -> Planned:
    """The plan of a single run."""
    selection = Selection(models=[model], seeds=[seed], **chosen)
    (planned,) = make_plan(suite, selection, Places(store.root, device="cpu"))
    return planned


def do(planned: Planned) -> Outcome:
    """Do a run in this process, to its end."""
    return execute(planned.task, lambda _: None, lambda: False)


def changed(suite: Suite, part: str = "", **changes: Any) -> Suite:
    """The same suite with other settings of its quick profile, or of a part of that."""
    profile = suite.profiles["quick"]
    if part:
        old = getattr(profile, part)
        changes = {part: replace(old, **changes) if is_dataclass(old) else old.model_copy(update=changes)}
    return suite.model_copy(update={"profiles": {"quick": profile.model_copy(update=changes)}})


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, extractor_cache: Path) -> Store:
    """A store with a GEBM and a GAN of the tiny suite, done: only to be read or copied."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(TINY)
    suite = changed(load_suite(str(folder / "tiny.toml")), "evaluation", metrics=("fid",))
    store = Store(folder / "store").create()
    shutil.copytree(extractor_cache, store.cache, dirs_exist_ok=True)
    for model in ("gebm", "gan-ns"):
        assert do(plan_one(suite, store, model)).state == "done"
    return store


@pytest.fixture
def done(finished: Store, tmp_path: Path) -> Store:
    """A store of one's own with a GEBM and a GAN of the tiny suite, done."""
    shutil.copytree(finished.root, tmp_path / "done")
    return Store(tmp_path / "done")
