"""The LaTeX is balanced, its rows are whole, and text stays text; it is compiled where a compiler is at hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import render, write_report
from bench.report.latex import escape_latex

HOSTILE = r"gan_%&#${x}~^\input{/etc/passwd} [b] <c> | β=1 −2"


@pytest.fixture
def text(made: Any) -> str:
    rows = [row | ({"model": HOSTILE} if row["model"] == "gan-ns" else {}) for row in made.study()]
    lines = render(made.results(rows), "latex").splitlines()
    return "\n".join(line for line in lines if not line.startswith("%"))  # TeX reads no further than the sign


def rows_of(text: str) -> list[tuple[str, list[str]]]:
    """Column specification and rows of every tabular."""
    found = []
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        lines = [line.strip() for line in body.splitlines() if line.strip().endswith(r"\\")]
        found.append((columns, lines))
    return found


def test_environments_braces_and_dollars_are_balanced(text: str) -> None:
    opened: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if what == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    plain = re.sub(r"\\[{}$%&#_]", "", text)
    assert plain.count("{") == plain.count("}")
    for line in plain.splitlines():
        assert line.count("$") % 2 == 0


def test_every_row_has_as_many_cells_as_columns(text: str) -> None:
    tables = rows_of(text)
    assert len(tables) == 3  # what made-up results have: answers, scores and paired differences
    for columns, lines in tables:
        assert len(lines) > 2
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 3


def test_hostile_names_stay_text(text: str) -> None:
    assert r"\input" not in text
    assert r"gan\_\%\&\#\$\{x\}\textasciitilde{}\textasciicircum{}\textbackslash{}input\{/etc/passwd\}" in text


@given(st.text(max_size=40))
def test_no_text_opens_anything(text: str) -> None:
    escaped = escape_latex(text)
    commands = re.sub(
        r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar|textquotedbl|dots|S)\{\}",
        "",
        escaped,
    )
    commands = re.sub(
        r"\$(\\(beta|gamma|kappa|times|neq|downarrow|uparrow|dagger|surd|infty|pm|rightarrow|approx|ddagger)|\\\||-)\$",
        "",
        commands,
    )
    commands = re.sub(r"\\textsuperscript\{2\}|\\[{}&%$#_]", "", commands)
    assert not set(commands.removeprefix("{}")) & set("\\{}&%$#_~^")
    assert not escaped.startswith("[")


def test_an_empty_answer_is_a_comment(made: Any, tmp_path: Path) -> None:
    path = write_report(made.results([made.unscored("gebm", 0, "missing", "")]), tmp_path, "latex")
    assert path.name == "report.tex"
    assert "% - No finished run has a score yet" in path.read_text()


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_it_compiles(text: str, tmp_path: Path) -> None:
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx}\begin{document}"
    (tmp_path / "x.tex").write_text(f"{head}\n{text}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
