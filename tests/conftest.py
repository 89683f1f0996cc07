"""Shared by all tests: shapes and types of the library are checked at every call, and where local data are looked for."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # beartype's remarks on importing torch's own types
    install_import_hook(["gebm", "baselines"], "beartype.beartype")


settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of local data; the test is skipped where there is none."""
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA is not set: no local data")
    return Path(os.environ["BENCH_DATA"])
