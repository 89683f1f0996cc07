"""The version of a benchmark: a hash of the code that builds and checks it, so that a changed benchmark is not compared with its old self."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import textwrap
from typing import Any

from bench.track.timed import Benchmark

__all__ = ["version"]


def version(benchmark: Benchmark) -> str:
    """A short sha256 over what the benchmark does: its settings, and the syntax trees of its `build` and of every function, class and
    constant of the same package (or the same file) that it names, and so on. Comments, docstrings and layout do not count; the library that is timed does
    not either.
    """
    package = __name__.rpartition(".")[0]
    home = benchmark.build.__module__
    seen: dict[str, str] = {}
    waiting = [benchmark.build]
    while waiting:
        thing: Any = waiting.pop()
        key = f"{thing.__module__}.{thing.__qualname__}"
        if key in seen:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        seen[key] = ast.dump(_bare(tree))
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        known = vars(sys.modules[thing.__module__])
        for name in sorted(names & known.keys()):
            value = known[name]
            if inspect.isfunction(value) or inspect.isclass(value):
                if value.__module__ == home or value.__module__.startswith(package + "."):
                    waiting.append(value)
            elif isinstance(value, int | float | str | bool | tuple):
                seen[f"{thing.__module__}.{name}"] = repr(value)
    work = (benchmark.unit, benchmark.settings, benchmark.steps)
    content = repr((work, sorted(seen.items())))
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _bare(tree: ast.AST) -> ast.AST:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
