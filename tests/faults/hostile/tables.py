"""Tables that users bring and two official ones: CSV, npy and parquet."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .layouts import Rng
from .spoiling import any_of, drawn, st
from .writing import ROWS, Harm, declared, later, npy, put, saved

__all__ = ["CSV", "NPY", "PARQUET", "drawn_table", "events", "parquet", "wines"]

CSV = [
    put("t.csv", b"a,b,c\n" + b"1," * 5_000_000),
    put("t.csv", b"," * 10_000_000),
    put("t.csv", b"a,b\n" + b"1,2\n" * 2_400_000),
    put("t.csv", b"a,b\n" + b"1\n" * 4_000_000),
    put("t.csv", b'a,b\n"' + b"1,2\n" * 100_000),
    put("t.csv", b"9" * 9_000_000),
    put("t.csv", b"a" * 5_000_000 + b"," + b"b" * 4_900_000 + b"\n1,2\n"),
    put("t.csv", b"\n" * 9_000_000),
    put("t.csv", "\n".join(["=cmd|' /C calc'!A0,<script>alert(1)</script>", *["1,2"] * 200]).encode()),
    put("t.csv", b"\0" * 1_000_000),
    put("t.csv", ("a,b\n" + "\n".join(f"{i}e{i},{i}" for i in range(400))).encode()),
    put("t.csv", ("a,b\n" + "\n".join(f"{'9' * 5000},{i}" for i in range(300))).encode()),
    put("t.csv", b"a,b,c\n" + b"0.1\t2;3,4\n" * 300),
]
NPY = [
    put("t.npy", saved(np.array([[Harm(), 1.0]], dtype=object), allow_pickle=True)),
    put("t.npy", npy(declared("(1000000000000, 2)"), bytes(64))),
    put("t.npy", npy(declared("(1000000000, 2)", "'|u1'"), bytes(64))),
    put("t.npy", npy(declared("(-1, 2)"), bytes(64))),
    put("t.npy", npy(declared("(" * 4000 + ")" * 4000), bytes(64))),
    put("t.npy", npy(declared("(4, 2)", "[('a', '<f8', (99999999,))]"), bytes(64))),
    put("t.npy", npy(declared("__import__('os').system('touch pwned')"), bytes(64))),
    put("t.npy", npy(declared("(4, 2)", "'|O'"), pickle.dumps(Harm()))),
    put("t.npy", pickle.dumps(Harm())),
    put("t.npy", saved(np.ones((10_000_000, 1), np.uint8))),
    put("t.npy", saved(np.random.default_rng(0).integers(0, 256, (2_500_000, 4), np.uint8))),
    put("t.npy", saved(np.random.default_rng(0).random((100, 12_000), np.float32))),
]


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    """A parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


def long_parquet() -> bytes:
    """Two columns of 40 million equal numbers in a few kilobytes."""
    buffer = io.BytesIO()
    part = pa.table({name: np.full(4_000_000, value) for name, value in (("a", 1.0), ("b", 2.0))})
    with pq.ParquetWriter(buffer, part.schema, compression="zstd") as writer:
        for _ in range(10):
            writer.write_table(part)
    return buffer.getvalue()


PARQUET = [
    later("t.parquet", long_parquet),
    later("t.parquet", lambda: parquet({"a": ["x" * 10_000_000] * 100, "b": range(100)}, compression="zstd")),
    later(
        "t.parquet", lambda: parquet({"a": pa.array([list(range(100_000))] * 300), "b": range(300)}, compression="zstd")
    ),
    later("t.parquet", lambda: parquet({f"c{i}": np.zeros(100) for i in range(4000)}, compression="zstd")),
    later("t.parquet", lambda: parquet({"<script>": ROWS[:, 0], "b": ROWS[:, 1], "": ROWS[:, 2]})),
]


def wines(folder: Path) -> None:
    """A table as the red wine's."""
    rows = np.random.default_rng(2).gamma(3.0, 1.0, (200, 12)).round(1)
    np.savetxt(folder / "winequality-red.csv", rows, "%.1f", ";", header="names", comments="")


def events(folder: Path) -> None:
    """Tables as HEPMASS has them."""
    (folder / "maf/hepmass").mkdir(parents=True)
    for part in ("train", "test"):
        rows = np.column_stack([np.ones(200), np.random.default_rng(1).normal(size=(200, 27))])
        np.savetxt(
            folder / f"maf/hepmass/1000_{part}.csv",
            rows,
            "%.4f",
            ",",
            header=",".join(["label", *"x" * 27]),
            comments="",
        )


CELLS = st.text(st.characters(codec="utf-8"), max_size=6) | st.floats().map(str) | st.integers().map(str)
TABLES = drawn(
    st.lists(st.lists(CELLS, min_size=1, max_size=4).map(",".join), min_size=1, max_size=8).map("\n".join), 300
)


def drawn_table(content: bytes, rng: Rng) -> bytes:
    """A table of arbitrary cells, at times repeated so that there are enough rows, or in front of a real one."""
    text = str(any_of(rng, TABLES)).encode()
    return any_of(rng, [text, b"\n".join([text] * 120), text + b"\n" + content, content + text])  # type: ignore[no-any-return]
