"""The made-up studies of the report's tests, for claims."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

MADE = Path(__file__).parents[1] / "report" / "conftest.py"


@pytest.fixture(scope="session")
def made() -> Any:
    """The factories of tests/bench/report/conftest.py."""
    name = "made_up_studies"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, MADE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
