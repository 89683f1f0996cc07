"""The version of a benchmark: a hash of its own code, so that a changed benchmark is not compared with its old self."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sys
from functools import cache
from pathlib import Path

from bench.track.timed import Benchmark

__all__ = ["version"]

PACKAGE = __name__.rpartition(".")[0]


def version(benchmark: Benchmark) -> str:
    """A short sha256 over what the benchmark does: its settings, and the syntax trees of its `build` and of every definition of the same
    file or of this package that it names, and so on. Comments, docstrings and layout do not count; nor does the library that is timed.
    """
    seen: dict[str, str] = {}
    waiting = [(benchmark.build.__module__, benchmark.build.__qualname__)]
    while waiting:
        module, name = waiting.pop()
        key = f"{module}.{name}"
        node = definitions(module).get(name)
        if key in seen or node is None:
            continue
        if isinstance(node, ast.ImportFrom):
            waiting += imported(node, name)
            continue
        seen[key] = ast.dump(node)
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                waiting.append((module, part.id))
            elif isinstance(part, ast.ImportFrom):
                waiting += imported(part)
    content = repr((benchmark.unit, sorted(benchmark.settings.items()), sorted(seen.items())))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def imported(statement: ast.ImportFrom, name: str | None = None) -> list[tuple[str, str]]:
    """Module and name of what a statement imports from this package; all of it, or what it calls `name`."""
    if statement.module is None or not statement.module.startswith(PACKAGE):
        return []
    return [(statement.module, part.name) for part in statement.names if name in (None, part.asname or part.name)]


@cache
def definitions(module: str) -> dict[str, ast.stmt]:
    """The statements of a module that give a name its meaning: functions, classes, assignments and imports; docstrings left out."""
    tree = ast.parse(source(module))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        for name in named(statement):
            found[name] = statement
    return found


def source(module: str) -> str:
    """The source of a module, which need not be imported."""
    if module in sys.modules:
        return inspect.getsource(sys.modules[module])
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""


def named(statement: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.ImportFrom):
        return [alias.asname or alias.name for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [
        part.id for target in targets if target is not None for part in ast.walk(target) if isinstance(part, ast.Name)
    ]
