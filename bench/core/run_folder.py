"""A run's folder in the store, `bench.core.store`: its files, each held against its hash or its own checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.core.fields import content_hash
from bench.core.records import problem
from bench.files import parse_json, sha256_file, write_json

__all__ = ["LOG", "CorruptError", "RunFolder", "StoreError", "UnreadableError", "progress_words", "unfinished"]

LOG = "log.txt"


class StoreError(RuntimeError):
    """The store cannot be used."""


class CorruptError(StoreError):
    """A file is not what was written, or not laid out as it should be."""


class UnreadableError(StoreError):
    """A file is there, and the system does not let it be read: nothing is known of what it holds."""


class RunFolder:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def misshapen(self) -> bool:
        """Whether there is a file where a folder belongs, or a folder where a file does."""
        if not self.path.is_dir():
            return self.path.exists()
        return any(each.is_dir() != (each == self / "evals") for each in self.path.rglob("*"))

    def read_json(self, name: str, digest: str = "") -> dict[str, Any] | None:
        """A JSON file of the run; None if absent. It is held against the hash that a status has of it, `digest`, or else its own checksum.

        Raises:
            CorruptError: if it is not what was written, or is not laid out as `bench.core.records` says.
            UnreadableError: if the system does not let it be read.
        """
        try:
            with open(f"{self.path}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  (thousands of them: pathlib is slow)
                content = file.read()
            value: dict[str, Any] = parse_json(content)
            seal = value.pop("sha256")
        except FileNotFoundError:
            return None
        except (
            IsADirectoryError,
            NotADirectoryError,
            ValueError,
            LookupError,
            AttributeError,
            TypeError,
            RecursionError,
        ) as error:
            raise CorruptError(f"{self.path / name} is corrupt: it is not what was written") from error
        except OSError as error:
            raise UnreadableError(f"{self.path / name} cannot be read: {error.strerror}") from error
        if digest and digest != hashlib.sha256(content).hexdigest():
            raise CorruptError(f"{self.path / name} is corrupt: its content does not match the hash in the status")
        if not digest and seal != content_hash(value):
            raise CorruptError(f"{self.path / name} is corrupt: its content does not match its own checksum")
        if wrong := problem(name, value):
            raise CorruptError(f"{self.path / name} {wrong}")
        return value

    def write_json(self, name: str, value: dict[str, Any], *, more: bool = False) -> None:
        """Write a JSON file of the run, with a checksum of itself in it; `more` as in `bench.files.write_bytes`."""
        write_json(self.path / name, value | {"sha256": content_hash(value)}, more=more)

    def damaged(self, files: Mapping[str, str]) -> str:
        """The first of the files, listed with their hashes, that is absent or differs, as a sentence; '' if all are sound.

        Raises:
            UnreadableError: if one cannot be read.
        """
        for name, digest in files.items():
            try:
                found = sha256_file(f"{self.path}/{name}")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return f"{self.path / name} is missing"
            except OSError as error:
                raise UnreadableError(f"{self.path / name} cannot be read: {error.strerror}") from error
            if found != digest:
                return f"{self.path / name} is corrupt: its content does not match the hash in the status"
        return ""

    def hashes(self, *names: str) -> dict[str, str]:
        """Hashes of the named files, as a status lists them."""
        return {name: sha256_file(self.path / name) for name in names}

    def log(self, text: str) -> None:
        """Append text, with the time, to the run's log; a log that cannot be written is no reason to fail."""
        with suppress(OSError), (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {text}\n")

    def training(self) -> dict[str, Any] | None:
        """What `training.json` says of a sound training, finished or not; None if there is none.

        Raises:
            UnreadableError: if it cannot be read.
        """
        return self._sound("training.json")

    def evaluation(self, identity: str) -> dict[str, Any] | None:
        """A sound evaluation of that identity, by whatever code; None if there is none.

        Raises:
            UnreadableError: if it cannot be read.
        """
        return self._sound(f"evals/{identity}.json")

    def _sound(self, name: str) -> dict[str, Any] | None:
        try:
            found = self.read_json(name)
        except CorruptError:
            return None
        return None if not found or self.damaged(found["files"]) else found


def unfinished(record: Mapping[str, Any]) -> bool:
    """Whether a training or status record is of a run that had to leave off."""
    return bool(record["steps_done"] < record["steps_asked"])


def progress_words(record: Mapping[str, Any]) -> str:
    """Such as "1,200 of 2,500 steps, in training", or "all 2,500 steps"."""
    if not unfinished(record):
        return f"all {record['steps_asked']:,} steps"
    return f"{record['steps_done']:,} of {record['steps_asked']:,} steps, in {record['phase']}"
