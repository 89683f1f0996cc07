"""What is done to a real file so that it is no longer one: bytes changed, text made hostile, JSON and TOML with other values in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

__all__ = ["JSON", "TEXTS", "any_of", "drawn", "paths_in", "replaced", "spoiled_bytes", "spoiled_json", "spoiled_text"]

Rng = np.random.Generator
EXTREMES = [0, 1, -1, 2**7, 2**15 - 1, 2**16, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63)]
TEXTS = [
    *("", " ", "\0", "\n", "\r\n", "nan", "inf", "-inf", "1e308", "-1e400", "1e-400", "0x10", "1_000", "9" * 5000),
    *("<script>alert(1)</script>", "=cmd|' /C calc'!A0", "@SUM(1)", "${7*7}", "{{7*7}}", "%s%n", "\\input{/etc/passwd}", "`id`"),
    *("../../../etc/passwd", "/etc/passwd", "..", ".", "~", "C:\\x", "a/../../b", "x" * 10_000, "é\u202e\u0000\ufeff", "\ud800", "💥"),
    *("true", "null", "[", "{", '"', "'", "#", ";", ",", "|", "[bold red]", "__import__('os').system('touch pwned')"),
]  # fmt: skip
VALUES: list[Any] = [
    None,
    True,
    False,
    *EXTREMES,
    0.5,
    -0.0,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    10**30,
    [],
    {},
    [[]],
    {"": {}},
    *TEXTS,
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def drawn(strategy: st.SearchStrategy[Any], count: int, number: int = 0) -> list[Any]:
    """Examples of a strategy, the same for the same number."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found


def any_of(rng: Rng, some: Any) -> Any:
    """One of them."""
    return some[int(rng.integers(len(some)))]


def spoiled_bytes(content: bytes, rng: Rng) -> bytes:
    """The same with one to four changes of a random kind at random places."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        any_of(rng, CHANGES)(found, rng)
    return bytes(found)


def _place(found: bytearray, rng: Rng, width: int = 1) -> int:
    """A place with room for so many bytes, often among the first, where headers are, or the last, where directories are."""
    most = max(1, len(found) - width + 1)
    near = any_of(rng, [most, min(most, 64), min(most, 512)])
    return most - 1 - int(rng.integers(near)) if rng.random() < 0.25 else int(rng.integers(near))


def _flip(found: bytearray, rng: Rng) -> None:
    if found:
        found[_place(found, rng)] ^= 1 << int(rng.integers(8))


def _overwrite(found: bytearray, rng: Rng) -> None:
    width = any_of(rng, [1, 2, 4, 8])
    where = _place(found, rng, width)
    number = any_of(rng, EXTREMES) % 2 ** (8 * width)
    found[where : where + width] = number.to_bytes(width, any_of(rng, ["little", "big"]))


def _cut(found: bytearray, rng: Rng) -> None:
    del found[_place(found, rng) :]


def _remove(found: bytearray, rng: Rng) -> None:
    where = _place(found, rng)
    del found[where : where + int(rng.integers(1, 65))]


def _insert(found: bytearray, rng: Rng) -> None:
    found[(where := _place(found, rng)) : where] = rng.bytes(int(rng.integers(1, 65)))


def _repeat(found: bytearray, rng: Rng) -> None:
    where = _place(found, rng)
    found[where:where] = found[where : where + int(rng.integers(1, 257))] * int(rng.integers(1, 9))


def _blank(found: bytearray, rng: Rng) -> None:
    where, width = _place(found, rng), int(rng.integers(1, 257))
    found[where : where + width] = bytes([any_of(rng, [0, 255, 32])]) * width


CHANGES: list[Callable[[bytearray, Rng], None]] = [_flip, _overwrite, _cut, _remove, _insert, _repeat, _blank]


def spoiled_text(content: bytes, rng: Rng) -> bytes:
    """The same with some of its words and numbers replaced, or with bytes changed."""
    if rng.random() < 0.3:
        return spoiled_bytes(content, rng)
    text = content.decode("utf-8", "replace")
    for _ in range(int(rng.integers(1, 4))):
        marks = [i for i, sign in enumerate(text) if sign in ',;\n=" []{}:'] or [0]
        start = any_of(rng, marks)
        end = next((i for i in marks if i > start), len(text))
        text = text[: start + 1] + any_of(rng, TEXTS) + text[any_of(rng, [end, start + 1]) :]
    return text.encode("utf-8", "surrogatepass")


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where there is something in a tree of dictionaries and lists, the whole of it included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_in(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """The tree with something else at a place."""
    if not path:
        return change(value)
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], change)
    return copy


def spoiled_json(value: Any, rng: Rng, drawn_values: list[Any]) -> Any:
    """The tree with another value, another key or one thing less in one to three places."""

    def other(old: Any) -> Any:
        kind = rng.random()
        if kind < 0.15 and isinstance(old, dict) and old:
            return {key: each for key, each in old.items() if key != any_of(rng, list(old))}
        if kind < 0.25 and isinstance(old, dict):
            return old | {any_of(rng, TEXTS): any_of(rng, VALUES)}
        if kind < 0.35 and isinstance(old, list):
            return old * int(rng.integers(0, 3))
        return any_of(rng, VALUES) if kind < 0.8 else any_of(rng, drawn_values)

    for _ in range(int(rng.integers(1, 4))):
        value = replaced(value, any_of(rng, list(paths_in(value))), other)
    return value


def json_bytes(value: Any) -> bytes:
    """JSON as Python writes it, NaN and lone surrogates included."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
