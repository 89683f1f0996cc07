"""What is timed, and the process that times it.

A measuring process runs this folder's code against the library of either side, so that both are timed by the very same code: `__main__`
puts this package in the place of the library's own `bench.track.timed`. Nothing here may import other parts of `bench.track`; `gebm`,
`baselines` and the rest of `bench` are those of the side, so that only what every side has may be imported.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Benchmark", "Work"]


@dataclass(frozen=True)
class Work:
    """Something built and warm, ready to be timed.

    Attributes:
        step: does the work once; its return value is ignored.
        amount: units of the benchmark per step.
        check: returns the statistics in which the fast path's output differs from the truth; empty if it is right.
        gradient_evaluations, forward_evaluations: of E(G(z)) per step, over all rows.
        precision: dtype of the matrix products ("float32", "bfloat16"), whose peak it is compared with; None where there are none.
    """

    step: Callable[[], object]
    amount: float
    check: Callable[[], list[str]]
    gradient_evaluations: float = 0.0
    forward_evaluations: float = 0.0
    precision: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A named piece of work.

    Attributes:
        name: unique, as `--only` matches it.
        unit: what is counted: chain-steps, images, draws, distances.
        build: makes the work on a device ("cpu" or "cuda"), given as `device` beside the settings.
        settings: keyword arguments of `build`; they are part of the benchmark's version.
        quick: whether it is in the quick subset.
    """

    name: str
    unit: str
    build: Callable[..., Work]
    settings: dict[str, Any]
    quick: bool = False

    @property
    def version(self) -> str:
        """A short sha256 of what the benchmark does, so that a changed one is not compared with its former self.

        It is of the settings and the syntax trees of `build` and of all definitions that it refers to, directly or not, by name: those of
        the same file and of this package, or for the catalogue of another checkout those beside it. Comments, docstrings, layout and the
        timed library do not count.
        """
        file, package = Path(self.build.__code__.co_filename), Path(__file__).parent
        known = definitions(file, file.parent if file.name == "catalogue.py" else package)
        reached: dict[str, list[str]] = {}
        waiting = [self.build.__name__]
        while waiting:
            name = waiting.pop()
            if name in known and name not in reached:
                reached[name] = [ast.dump(node) for node in known[name]]
                parts = [part for node in known[name] for part in ast.walk(node)]
                waiting += [part.id for part in parts if isinstance(part, ast.Name)]
                waiting += [part.name for part in parts if isinstance(part, ast.alias)]
        content = repr((self.unit, sorted(self.settings.items()), sorted(reached.items())))
        return hashlib.sha256(content.encode()).hexdigest()[:12]


@cache
def definitions(file: Path, package: Path) -> dict[str, list[ast.stmt]]:
    """Return by name the statements of a file and of a package that define functions, classes and constants; docstrings are left out."""
    found: dict[str, list[ast.stmt]] = {}
    for path in sorted({file, *package.glob("*.py")}):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            nodes = list(ast.walk(statement))
            for node in nodes:
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                names = [statement.name]
            else:
                names = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
            for name in names:
                found.setdefault(name, []).append(statement)
    return found
