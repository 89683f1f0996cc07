"""The version of a benchmark: a hash of its own code, so that a changed benchmark is not compared with its former self."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from functools import cache
from pathlib import Path

from bench.track.timed import Benchmark

__all__ = ["version"]

PACKAGE = __name__.rpartition(".")[0]


def version(benchmark: Benchmark) -> str:
    """Return a short sha256 of what the benchmark does: its settings, and the syntax trees of its `build` and of all definitions in the
    same file or in this package that it refers to, directly or not. Comments, docstrings, layout and the timed library do not count.
    """
    trees: dict[str, str] = {}
    waiting = [(benchmark.build.__module__, benchmark.build.__name__)]
    while waiting:
        module, name = waiting.pop()
        node = definitions(module).get(name)
        if node is None or f"{module}.{name}" in trees:
            continue
        if isinstance(node, ast.ImportFrom):
            waiting += [(source, original) for source, original, alias in imports(node) if alias == name]
            continue
        trees[f"{module}.{name}"] = ast.dump(node)
        for part in ast.walk(node):
            if isinstance(part, ast.Name):
                waiting.append((module, part.id))
            elif isinstance(part, ast.ImportFrom):
                waiting += [(source, original) for source, original, _ in imports(part)]
    content = repr((benchmark.unit, sorted(benchmark.settings.items()), sorted(trees.items())))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def imports(statement: ast.ImportFrom) -> list[tuple[str, str, str]]:
    """Return module, name and local name of whatever a statement imports from this package."""
    module = statement.module or ""
    return [(module, each.name, each.asname or each.name) for each in statement.names if module.startswith(PACKAGE)]


@cache
def definitions(module: str) -> dict[str, ast.stmt]:
    """Return the statements of a module that define its names: functions, classes, assignments and imports; docstrings left out."""
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(source(module)).body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found[statement.name] = statement
        elif isinstance(statement, ast.ImportFrom):
            found |= {each.asname or each.name: statement for each in statement.names}
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
            found |= {node.id: statement for node in names}
    return found


def source(module: str) -> str:
    """Return the source of a module, which need not have been imported."""
    file = getattr(sys.modules.get(module), "__file__", None)
    spec = None if file else importlib.util.find_spec(module)
    path = file or (spec.origin if spec else None)
    return Path(path).read_text(encoding="utf-8") if path else ""
