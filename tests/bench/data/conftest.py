"""A folder of small files in the official layouts, each with the receipt of a verified archive, or accepted."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from bench.data import Dataset, TableFacts
from bench.data.files import write_receipt


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files."""
    if not os.environ.get("BENCH_DATA"):
        pytest.skip("BENCH_DATA is not set: no real files here")
    return Path(os.environ["BENCH_DATA"])


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Put a file into the data folder, of that content or made by a function of its path, and write its receipt."""

    def put(name: str, make: bytes | Callable[[Path], object], verified: bool = True) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make) if isinstance(make, bytes) else make(path)
        write_receipt(path, "a test", verified)
        return path

    return put


def facts(dataset: Dataset) -> TableFacts:
    """The facts about a table."""
    assert dataset.table is not None
    return dataset.table


class OldPickler(pickle._Pickler):
    """Writes global names of our choice, so that a frame looks as pandas of 2017 pickled it."""

    names: ClassVar[dict[Any, tuple[str, str]]] = {}

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module, attribute = self.names.get(obj, (obj.__module__, obj.__qualname__))
        self.write(pickle.GLOBAL + f"{module}\n{attribute}\n".encode())
        self.memoize(obj)

    dispatch = pickle._Pickler.dispatch | {type: save_global, type(len): save_global, type(lambda: 0): save_global}


class Frame:
    def __init__(self, state: Any) -> None:
        self.state = state

    def __getstate__(self) -> Any:
        return self.state


class Blocks(Frame):
    pass


class Index:
    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return new_index, (Index, {"data": self.data, "name": None})


def new_index(kind: type, made_from: dict[str, Any]) -> Index:
    return kind(made_from["data"])


def old_frame(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Pickle columns as pandas 0.19 on Python 2 did: protocol 2, two blocks, an index of row numbers."""
    names, values = list(columns), np.stack(list(columns.values()))
    axes = [Index(np.array(names, dtype=object)), Index(np.arange(values.shape[1]))]
    halves = [slice(0, 2, 1), slice(2, len(names), 1)]
    blocks = [{"values": values[half], "mgr_locs": half} for half in halves]
    state = (axes, [block["values"] for block in blocks], axes, {"0.14.1": {"axes": axes, "blocks": blocks}})
    frame = Frame({"_metadata": [], "_typ": "dataframe", "_data": Blocks(state)})
    OldPickler.names = {
        Frame: ("pandas.core.frame", "DataFrame"),
        Blocks: ("pandas.core.internals", "BlockManager"),
        Index: ("pandas.indexes.base", "Index"),
        new_index: ("pandas.indexes.base", "_new_Index"),
        slice: ("__builtin__", "slice"),
    }
    with path.open("wb") as file:
        OldPickler(file, protocol=2).dump(frame)
