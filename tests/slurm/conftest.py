"""One Slurm for all tests here, and the fixtures of the tiny suite."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..bench.conftest import extractor_cache, make_store, tiny_path, unsynced  # noqa: F401
from .cluster import Cluster, lacking


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Slurm of two nodes, on whose commands this process calls."""
    if why := lacking():
        pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, for sockets
    made = Cluster(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, made.environment[name])
        try:
            try:
                made.start()
            except TimeoutError as late:
                pytest.skip(f"no Slurm can be started here: {late}")
            yield made
        finally:
            made.stop()
            shutil.rmtree(folder)
