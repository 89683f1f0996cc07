"""How a component says, beside its own code, under which name and with which facts a harness finds it.

Registration has no effect when the code runs: whoever collects components reads the arguments from the source, so that thousands of names
can be listed without importing one of them. All arguments must therefore be literals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

__all__ = ["ComponentKind", "component"]

T = TypeVar("T")
ComponentKind = Literal[
    "datasets", "models", "samplers", "metrics", "extractors", "objectives", "networks", "executors"
]


def component(kind: ComponentKind, name: str, summary: str, /, **facts: Any) -> Callable[[T], T]:  # noqa: ARG001
    """Register the class or function below under `name`; decorators may be stacked to give one class several names.

    Arguments:
        kind: what it is.
        name: how suites name it.
        summary: one line for `bench list`.
        facts: literals that belong to the name, such as `kind="tabular"` of a dataset or the `objective` of a model.

    Example:
        >>> @component("samplers", "still", "stay where you are")
        ... class Still: ...
    """

    def unchanged(registered: T) -> T:
        return registered

    return unchanged
