"""A disk that fails, in this process: it loses power after any write, or refuses any call; the store's own calls are what it sees.

A power cut leaves what was synced. Of the rest, names that were given or taken since their folder was last synced may be there or not, each
for itself, and the content of a file that was never synced may be gone.
"""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

__all__ = ["Log", "Operation", "crashed", "failing", "lay_out", "recording"]


@dataclass(frozen=True)
class Operation:
    """One change of the disk: `put` (a file's content, synced or not), `rename`, `unlink`, `mkdir`, or the `sync` of a folder."""

    kind: str
    path: str
    content: bytes = b""
    to: str = ""

    @property
    def folder(self) -> str:
        """The folder whose names it changes."""
        return os.path.dirname(self.to or self.path)  # noqa: PTH120  (relative names, thousands of them)


@dataclass
class Log:
    """What happened to a folder, in order; names are relative to it, its own is ''."""

    root: Path
    operations: list[Operation] = field(default_factory=list)
    synced: dict[str, bytes] = field(default_factory=dict)

    def name(self, path: Any) -> str | None:
        """A path's name in the folder; None if it is elsewhere or a lock, which no file's content depends on."""
        with suppress(TypeError, ValueError):
            name = str(Path(os.path.abspath(os.fspath(path))).relative_to(self.root))  # noqa: PTH100
            return None if name.startswith("locks") else name if name != "." else ""
        return None

    def add(self, kind: str, name: str, **more: Any) -> None:
        """Append an operation."""
        self.operations.append(Operation(kind, name, **more))


@contextmanager
def recording(root: Path) -> Iterator[Log]:
    """Yield a log of everything that changes a folder, filled as long as the block lasts."""
    log = Log(Path(os.path.abspath(root)))  # noqa: PTH100
    real = {name: getattr(os, name) for name in ("replace", "rename", "unlink", "mkdir")}

    def fsync(descriptor: Any) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115
        if (name := log.name(path)) is None:
            return
        if os.path.isdir(path):  # noqa: PTH112
            log.add("sync", name)
        else:
            log.synced[name] = Path(path).read_bytes()
            log.add("put", name, content=log.synced[name])

    def moved(call: Callable[..., None]) -> Callable[..., None]:
        def move(source: Any, target: Any, **options: Any) -> None:
            before, after = log.name(source), log.name(target)
            if before is not None and after is not None:
                if not os.path.isdir(source):  # noqa: PTH112
                    content = Path(source).read_bytes()
                    if log.synced.pop(before, None) != content:
                        log.add("put", before, content=content, to="unsynced")
                log.add("rename", before, to=after)
            call(source, target, **options)

        return move

    def unlink(path: Any, **options: Any) -> None:
        real["unlink"](path, **options)
        if (name := log.name(path)) is not None:
            log.add("unlink", name)

    def mkdir(path: Any, *mode: Any, **options: Any) -> None:
        real["mkdir"](path, *mode, **options)
        if (name := log.name(path)) is not None:
            log.add("mkdir", name)

    moves = {name: moved(real[name]) for name in ("replace", "rename")}
    with mock.patch.multiple(os, fsync=fsync, unlink=unlink, remove=unlink, mkdir=mkdir, **moves):
        yield log


def crashed(
    log: Log, length: int, chance: random.Random | None, before: Mapping[str, bytes | None] = MappingProxyType({})
) -> dict[str, bytes | None]:
    """Return what a disk holds that lost power after so many operations: contents by name, None for a folder.

    Without a `chance` it loses all that it may lose; with one, each such thing or not. `before` is what it held at first.
    """
    there = dict(before)
    last_sync = {op.path: at for at, op in enumerate(log.operations[:length]) if op.kind == "sync"}
    for at, op in enumerate(log.operations[:length]):
        unsynced = op.to == "unsynced"
        folder = os.path.dirname(op.path) if unsynced else op.folder  # noqa: PTH120
        durable = last_sync.get(folder, -1) > at
        kept = durable or (chance is not None and chance.random() < 0.5)
        if op.kind == "put" and (folder == "" or folder in there):
            there[op.path] = b"" if unsynced and not kept else op.content
        elif op.kind == "mkdir" and kept:
            there[op.path] = None
        elif op.kind == "unlink" and kept:
            there.pop(op.path, None)
        elif op.kind == "rename" and kept:
            for name in [name for name in there if name == op.path or name.startswith(op.path + "/")]:
                there[op.to + name[len(op.path) :]] = there.pop(name)
    return there


class Gate:
    """Lets calls through until one of a given number, counting those that concern a folder; hears of them by an audit hook."""

    def __init__(self) -> None:
        self.concerned: Callable[[str, Sequence[Any]], bool] | None = None
        self.refuse: Callable[[str, Any], None]
        sys.addaudithook(self.hear)  # cannot be taken away again, so there is one for good

    def hear(self, event: str, arguments: Sequence[Any]) -> None:
        """Refuse a call, if it is its turn."""
        concerned = self.concerned
        if concerned is not None and concerned(event, arguments):
            self.refuse(event, arguments[0])


GATE = Gate()
ROOMY = ("open", "fsync", "os.mkdir")
"""Calls that take room on a disk."""


@dataclass
class Refusals:
    """How many calls could have been refused, and which were."""

    calls: int = 0
    refused: list[str] = field(default_factory=list)


@contextmanager
def failing(root: Path, number: int, error: int, lasting: bool) -> Iterator[Refusals]:
    """Let the call of that number that changes a folder fail, and where it is `lasting` all later ones; 0 lets all through.

    A call is refused for want of room only if it takes some, and for want of descriptors only if it opens a file, which may be to read.
    """
    log, found = Log(Path(os.path.abspath(root))), Refusals()  # noqa: PTH100
    kinds = {errno.ENOSPC: ROOMY, errno.EMFILE: ("open",)}.get(error, (*ROOMY, "os.rename", "os.remove"))
    real = os.fsync

    def concerned(event: str, arguments: Sequence[Any]) -> bool:
        if event not in kinds or log.name(arguments[0]) is None:
            return False
        writes = event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        return writes or error == errno.EMFILE

    def refuse(event: str, path: Any) -> None:
        found.calls += 1
        if number and (found.calls == number or (lasting and found.calls > number)):
            found.refused.append(f"{event} {log.name(path)}")
            raise OSError(error, os.strerror(error), str(path))

    def fsync(descriptor: int) -> None:
        GATE.hear("fsync", (os.readlink(f"/proc/self/fd/{descriptor}"),))  # noqa: PTH115
        real(descriptor)

    GATE.refuse, GATE.concerned = refuse, concerned
    try:
        with mock.patch.object(os, "fsync", fsync):
            yield found
    finally:
        GATE.concerned = None


def lay_out(state: dict[str, bytes | None], root: Path) -> None:
    """Make a folder that holds what a disk holds."""
    for name, content in sorted(state.items()):
        if content is None:
            (root / name).mkdir(parents=True, exist_ok=True)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
