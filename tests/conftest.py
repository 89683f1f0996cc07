"""Shared by all tests: shapes and types of the library are checked at every call; no test depends on time or on the number of cores."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # beartype's remarks on importing torch's own types
    install_import_hook(["gebm", "baselines"], "beartype.beartype")

torch.set_num_threads(1)  # small tensors, and other tests run beside these

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, Path(__file__).parent / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """Stores of made-up runs: tests/synthetic_store.py."""
    return beside("synthetic_store.py")


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """Made-up frames and facts: tests/made_up_studies.py."""
    return beside("made_up_studies.py")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """The library as its users run it, without type checks at every call, which would speak before its own errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
