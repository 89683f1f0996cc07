"""What a kind of hostile input is: real files, how they are spoiled, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .spoiling import any_of, spoiled_bytes

__all__ = ["Layout", "Rng", "Spoil", "either"]

Rng = np.random.Generator
Spoil = Callable[[bytes, Rng], bytes]


@dataclass(frozen=True)
class Layout:
    """One form in which a kind of input comes.

    Arguments:
        kind: what the outcome table counts it under.
        prepare: writes real files into an empty folder, once.
        read: reads them as the harness does; raises what a command would turn into one line, or nothing.
        spoil: what is done to the content of one of the files.
        victims: pattern of the files that may be spoiled.
        by_hand: functions of the folder that make it hostile in a way of their own; these are the first cases.
        finish: called after a file was spoiled, with the folder and that file.
        weight: its share of the cases of its kind.
    """

    kind: str
    prepare: Callable[[Path], object]
    read: Callable[[Path], object]
    spoil: Spoil = spoiled_bytes
    victims: str = "**/*"
    by_hand: Sequence[Callable[[Path], object]] = ()
    finish: Callable[[Path, Path], object] = field(default=lambda _folder, _file: None)
    weight: int = 6

    def make_hostile(self, folder: Path, rng: Rng, number: int) -> None:
        """Spoil the files of a copy of what `prepare` made."""
        if number < len(self.by_hand):
            self.by_hand[number](folder)
            return
        file = any_of(rng, sorted(path for path in folder.glob(self.victims) if path.is_file()))
        file.write_bytes(self.spoil(file.read_bytes(), rng))
        self.finish(folder, file)


def either(*spoils: Spoil) -> Spoil:
    """One of several ways to spoil, each time another."""
    return lambda content, rng: any_of(rng, spoils)(content, rng)
