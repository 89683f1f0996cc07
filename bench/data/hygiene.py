"""What makes a density meaningless on a user's table: columns and rows on which likelihood rewards memory or spikes.

A flow has no bound on a column of whole numbers, and a test row that stood in training measures memory. Each such fault is a `Concern`
with a name; whoever means it allows it by that name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from bench.data import Array, Concern, Dataset, DatasetError, Duplicates

__all__ = ["CONCERNS", "check_concern", "concerns_of", "refuse_concerns"]

CONCERNS = ("discrete", "index", "collinear", "duplicates")
UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls the index of a table, where it wrote one as a column."""
WHOLE = 2**53
"""Larger numbers are whole for want of digits."""
FEW_VALUES = 20
"""A column of so few distinct values is discrete, whatever the values."""
UNEXPLAINED = 1e-6
"""Share of a column's variance that the others must leave unexplained."""


def concerns_of(names: Sequence[str], splits: Mapping[str, Array], duplicates: Duplicates) -> list[Concern]:
    """Return what is wrong with a table, column by column, then row by row.

    Arguments:
        names: of the d columns.
        splits: split → (n, d), raw values, no column constant.
        duplicates: equal rows of the splits.
    """
    found, rows = [], np.concatenate(list(splits.values()))
    for name, column in zip(names, rows.T, strict=True):
        values = np.unique(column)
        whole = bool((values == np.floor(values)).all() and np.abs(values).max() < WHOLE)
        steps = np.diff(values)
        if len(values) == len(column) and np.ptp(steps) <= 1e-6 * steps[0]:
            found.append(Concern("index", name, f"column '{name}' numbers the rows"))
        elif whole and name in UNNAMED:
            found.append(Concern("index", name, f"column '{name}' has the name and the numbers of an index"))
        elif whole:
            found.append(Concern("discrete", name, f"column '{name}' holds whole numbers only"))
        elif len(values) <= FEW_VALUES:
            found.append(Concern("discrete", name, f"column '{name}' takes {len(values)} values only"))
    standard = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    precision = np.linalg.pinv(standard.T @ standard / len(rows), rcond=1e-15, hermitian=True)
    for name, unexplained in zip(names, 1 / np.diag(precision), strict=True):
        if unexplained < UNEXPLAINED:
            found.append(Concern("collinear", name, f"column '{name}' is all but determined by the others"))
    for split, known in duplicates.in_train.items():
        if known:
            text = f"{known} of {len(splits[split])} {split} rows equal a training row"
            found.append(Concern("duplicates", split, text))
    return found


def check_concern(name: str) -> str:
    """Return the name of a kind of concern, alone or before a colon and what it is about.

    Raises:
        ValueError: if there is none of this kind.
    """
    if name.partition(":")[0] not in CONCERNS:
        raise ValueError(f"'{name}' is no concern about a table; there are: {', '.join(CONCERNS)}")
    return name


def refuse_concerns(dataset: Dataset, allowed: Collection[str]) -> None:
    """Refuse a table with a concern that is not allowed, by its kind or as `kind:column`.

    Raises:
        DatasetError: naming every such column or split, and what would allow it.
    """
    every = dataset.table.concerns if dataset.table else ()
    left = [each for each in every if not {each.kind, f"{each.kind}:{each.where}"} & {*allowed}]
    if not left:
        return
    kinds = dict.fromkeys(each.kind for each in left)
    more = f" and {len(left) - 4} more" if len(left) > 4 else ""
    raise DatasetError(
        f"{dataset.name}: a density means little here: {'; '.join(each.text for each in left[:4])}{more}. Drop them, or allow them: "
        + " ".join(f"--allow {kind}" for kind in kinds)
    )
