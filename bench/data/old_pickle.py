"""Data frames pickled by pandas of 2014 to 2020, read without running anything that the pickle names.

A pickle is a program. This reader lets it name the classes that such a data frame is made of, and puts inert records in the place of all
but NumPy's arrays; the columns are then taken out of the records. Whatever else a pickle names is refused. It works for files of Python 2,
and does not depend on the pandas that is installed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Array
from bench.data.reading import check_apart, readable

__all__ = ["read_frame"]


class Record:
    """Placeholder for a pandas object: its arguments and its state, as plain data."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *arguments: Any) -> Record:
        made = super().__new__(cls)
        made.arguments = arguments
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


PANDAS = dict.fromkeys(("DataFrame", "BlockManager", "Index", "Int64Index", "RangeIndex"), Record) | {
    "_new_Index": lambda _kind, made_from: Record(made_from)
}
OTHERS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0),  # for the pickle to fill
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: np.empty(0),
    ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # bytes that Python 3 wrote as text
    ("__builtin__", "slice"): slice,
    ("builtins", "slice"): slice,
}


TRIAL = "import sys, pathlib, bench.data.old_pickle as reader; reader.load(pathlib.Path(sys.argv[1]))"
"""NumPy trusts the state of a pickled array."""


class FrameUnpickler(pickle.Unpickler):
    """Resolves the names of a pickled data frame to inert records, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in OTHERS:
            return OTHERS[module, name]
        if module.partition(".")[0] == "pandas" and name in PANDAS:
            return PANDAS[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no data frame of numbers needs")


def load(path: Path) -> Any:
    """Return the record that stands for the data frame."""
    with path.open("rb") as file:
        return FrameUnpickler(file, encoding="latin1").load()


def read_frame(path: Path) -> tuple[list[str], Array]:
    """Return the names of the columns and the values (n, columns) of a pickled data frame of numbers.

    Raises:
        DatasetError: if the file is anything else; nothing that it names has been run.
    """
    form = "a data frame of numbers, pickled by pandas of 2014 to 2020, that can be read safely"
    check_apart(path, form, TRIAL)
    with readable(path, form):
        frame = load(path)
        blocks = frame.state.get("_data", frame.state.get("_mgr")).state[3]["0.14.1"]
        names = ["".join(name) for name in blocks["axes"][0].arguments[0]["data"]]
        values = np.full((blocks["blocks"][0]["values"].shape[1], len(names)), np.nan)
        for block in blocks["blocks"]:
            values[:, block["mgr_locs"]] = block["values"].T
    return names, values
