"""How `sphinx-build -W docs build/docs` makes the site: notebooks are run, the reference is read from the code."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import SphinxError

import bench

ROOT = Path(__file__).parents[1]

project = "GEBM Bench"
author = "the GEBM Bench authors"
project_copyright = f"2026, {author}"
release = version = bench.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
html_theme = "furo"
html_title = project
html_static_path: list[str] = []
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False


def _code() -> str:
    """A digest of the code that notebooks run: with it their outputs are kept, and without it they would outlive a change."""
    files = sorted(path for package in ("gebm", "baselines", "bench") for path in (ROOT / package).rglob("*.[pt][yo]*"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.suffix in (".py", ".toml"))).hexdigest()[
        :12
    ]


nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / f"notebooks-{_code()}")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900  # seconds per cell, on a machine that is busy
nb_render_markdown_format = "myst"  # tables, which CommonMark has not
nb_merge_streams = True
nb_output_stderr = "remove"

os.environ["PATH"] = (
    f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # `bench` in notebooks is this one
)
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "TTY_COMPATIBLE": "0",
    "COLUMNS": "100",
}  # what it prints is for a page, not for a terminal


def _as_restructured_text(lines: list[str]) -> None:
    """Let plain text with names in single backticks, as docstrings and help texts are, mean the same to docutils."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "..", ":")) and line.count("`") % 2 == 0 and "``" not in line:
            words = line.split("`")
            words[::2] = [re.sub(r"(?<!\*)\*(?!\*)|\|(?! )", r"\\\g<0>", each) for each in words[::2]]
            lines[i] = "``".join(words)


def _as_mathml(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers show by themselves, with TeX's space between a function's name and its argument."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        raise SphinxError(f"{node.source}:{node.line}: {error} in {node.astext()}") from error
    formula = re.sub(r"(?<=&ApplyFunction;</mo>)(?=\s*<m[^o])", '<mspace width="0.17em"/>', formula)
    translator.body.append(f'<div class="math-wrapper">{formula}</div>\n' if block else formula)
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Connect what reads docstrings and help texts, and what writes formulas."""
    app.add_html_math_renderer("mathml", (_as_mathml, None), (_as_mathml, None))
    app.connect("autodoc-process-docstring", lambda *event: _as_restructured_text(event[-1]), priority=0)
    for part in ("description", "options", "epilog"):
        app.connect(f"sphinx-click-process-{part}", lambda *event: _as_restructured_text(event[-1]))
