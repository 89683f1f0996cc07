"""What is installed is what the checkout has: a file beside the code that no pattern names would be missing from the wheel alone."""

from __future__ import annotations

import tomllib
from pathlib import Path

import bench

ROOT = Path(__file__).parents[1]


def test_every_file_beside_the_code_is_packaged() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = [pattern.removeprefix("**/") for pattern in settings["package-data"]["*"]]
    files = [
        path for package in ("gebm", "baselines", "bench") for path in (ROOT / package).rglob("*") if path.is_file()
    ]
    data = [path for path in files if path.suffix not in (".py", ".pyc")]
    assert data
    assert [path for path in data if not any(path.match(pattern) for pattern in patterns)] == []


def test_the_citation_is_of_this_version() -> None:
    assert f"\nversion: {bench.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_every_public_module_of_the_library_is_in_the_reference() -> None:
    """A package's page stands for its modules, whose names it gives again."""
    page = (ROOT / "docs/reference/gebm.md").read_text()
    inner = {"checks", "energy_steps", "frozen", "negatives", "optimisation", "precision", "recorded", "stream"}
    modules = {path.stem for path in (ROOT / "gebm").glob("*.py")} | {"samplers", "partition"}
    assert {name for name in modules - inner - {"__init__"} if f"automodule:: gebm.{name}\n" not in page} == set()
