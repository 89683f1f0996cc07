"""Pages of the site need no network to be read: formulas are MathML, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("myst_nb", reason="the docs extra is not installed")
CONF = Path(__file__).parents[1] / "docs/conf.py"


def build(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    """Make a site of one page as ours is made."""
    (folder / "docs").mkdir()
    shutil.copy(CONF, folder / "docs")
    (folder / "docs/index.md").write_text(page)
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(folder / "docs"), str(folder / "site")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_formulas_are_read_without_a_network(tmp_path: Path) -> None:
    done = build(tmp_path, "# Page\n\nIn $\\log Z$ and\n\n$$ \\hat A = \\log \\tfrac1M \\sum_m e^{-E(x_m)} . $$\n")
    assert (done.returncode, done.stderr) == (0, "")
    html = (tmp_path / "site/index.html").read_text()
    assert html.count("<math ") == 2
    assert re.findall(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^>]*>", html) == []


def test_a_formula_that_cannot_be_shown_is_an_error_with_its_place(tmp_path: Path) -> None:
    done = build(tmp_path, "# Page\n\nIn $\\nosuch{x}$\n")
    assert done.returncode == 2
    assert r'index.md:3: Unknown LaTeX command "\nosuch". in \nosuch{x}' in done.stderr
