"""On which line of a TOML file something stands."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["line_of"]

ENDINGS = ("", "]", "]]")
"""What makes a file whole that ends within a list, or within a list in one."""


def line_of(text: str, keys: Sequence[str]) -> int:
    """Return the line, from 1, on which a valid file says what is at some keys; the nearest thing around it where nothing is there.

    No reader of TOML tells where it found what, so the file is read up to each of its lines in turn: about a second for 300 of them.
    """
    wanted = [tuple(keys[:length]) for length in range(len(keys), -1, -1)]
    first, lines = _first_lines(text), text.count("\n")
    return next((first[key] for key in wanted if key in first), min(1, lines))


@functools.cache
def _first_lines(text: str) -> dict[tuple[str, ...], int]:
    """Return for all keys of a file, and for the entries of its lists, the line on which they begin."""
    found: dict[tuple[str, ...], int] = {}
    lines, begins = text.splitlines(keepends=True), 1
    for number in range(1, len(lines) + 1):
        for ending in ENDINGS:
            try:
                content = tomllib.loads("".join(lines[:number]) + ending)
            except tomllib.TOMLDecodeError:
                continue
            for keys in _all_keys(content):
                found.setdefault(keys, begins)
            begins = number + 1
            break
    return found


def _all_keys(content: Any) -> Iterator[tuple[str, ...]]:
    """Yield the keys on the way to everything in a table or a list."""
    if isinstance(content, Mapping | list):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield (str(key),)
            yield from ((str(key), *rest) for rest in _all_keys(value))
