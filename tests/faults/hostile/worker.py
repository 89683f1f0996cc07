"""A process that reads hostile input, one case after the other, and says of each how it ended; started by `campaign`, which watches it.

It sees what Python reports of itself (`sys.addaudithook`): a file opened for writing outside the case's folder, a process, a connection, a
name that a pickle asks for, or a text run as code is a failure, whatever the reader says.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import click
import numpy as np

from bench.cli.usage import in_one_line

from .kinds import LAYOUTS
from .layouts import Layout

MOST_MEMORY = 2**30  # bytes that a case may take
FATAL = 6 * 2**30  # bytes at which the system refuses more, so that the machine lives on
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
STARTING = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "socket.connect",
    "pickle.find_class",
)
CHANGING = (
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "shutil.rmtree",
)
MAKERS = ("jinja2/environment.py", "dataclasses.py", "collections/__init__.py", "typing.py", "_typing_extra.py")


class Watch:
    """What a case did that no reader may do."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if (
            event == "subprocess.Popen" and arguments[0] == sys.executable
        ):  # a reader apart, in which files may do their worst
            return
        if event in STARTING:
            self.seen.append(f"{event} {arguments!r:.120}")
        elif event == "open" and arguments[2] & WRITING and self.is_outside(arguments[0]):
            self.seen.append(f"wrote {arguments[0]!r}")
        elif event == "os.mkdir" and Path(arguments[0]).is_dir():
            return
        elif event in CHANGING and any(self.is_outside(each) for each in arguments[:2]):
            self.seen.append(f"{event} {arguments!r:.120}")
        elif event == "exec" and is_text(arguments[0]) and not importing(sys._getframe(1)):
            self.seen.append(f"ran a text as code: {arguments[0].co_filename} {arguments[0].co_names[:5]}")

    def is_outside(self, path: Any) -> bool:
        """Whether a path is not below the case's folder; what is no path is not."""
        if not isinstance(path, str | bytes | os.PathLike) or os.fspath(path) in ("/dev/null", b"/dev/null"):
            return False
        whole = os.path.realpath(os.fsdecode(path))
        return not whole.startswith((f"{self.folder}{os.sep}", "/proc/self/")) and whole != self.folder

    @contextlib.contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch the block, which may write into that folder alone."""
        self.seen = []
        self.folder = str(folder)
        try:
            yield
        finally:
            self.folder = None


def is_text(code: Any) -> bool:
    """Whether code is not of a file."""
    return isinstance(code, CodeType) and code.co_filename.startswith("<")


def importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, or libraries make classes and templates of their own, all of which run texts."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename.endswith(MAKERS):
            return True
        frame = frame.f_back
    return False


def resident(peak: bool = False) -> int:
    """Bytes of memory that this process has, or the most since `forget_peak`."""
    name = "VmHWM" if peak else "VmRSS"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def forget_peak() -> None:
    """Let the peak start from the present."""
    Path("/proc/self/clear_refs").write_text("5")


def verdict(layout: Layout, folder: Path) -> tuple[str, str]:
    """How reading ends: 'read', 'refused' with the line, or 'failed' with why."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), in_one_line():
            layout.read(folder)
    except click.ClickException as error:
        line = error.format_message()
        lines = [each for each in line.splitlines() if each.strip()]
        return ("refused", line) if len(lines) == 1 else ("failed", f"an error of {len(lines)} lines: {line!r:.300}")
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "failed", f"{type(error).__name__}: {error!s:.200} ({Path(place.filename).name}:{place.lineno})"
    return "read", ""


def do(layout: Layout, folder: Path, watch: Watch) -> tuple[str, str]:
    """Read what is in a folder, of which nothing is left."""
    before = set(folder.parent.iterdir())
    try:
        os.chdir(folder)
        forget_peak()
        start = resident()
        with watch.over(folder):
            state, why = verdict(layout, folder)
        took = resident(peak=True) - start
        if watch.seen:
            return "failed", watch.seen[0]
        if took > MOST_MEMORY:
            return "failed", f"took {took / 2**20:,.0f} MiB; {why}"
    finally:
        os.chdir("/")
        shutil.rmtree(folder, ignore_errors=True)
    left = set(folder.parent.iterdir()) - before
    return ("failed", f"left {sorted(map(str, left))} outside its folder") if left else (state, why)


def main() -> None:
    """Read `layout number seed` from standard input, line by line, and answer each in JSON: that it is made, and how reading it ended."""
    resource.setrlimit(resource.RLIMIT_DATA, (FATAL, FATAL))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no answer
    watch = Watch()
    with tempfile.TemporaryDirectory(prefix="hostile-") as place:
        root = Path(place).resolve()
        os.environ |= {"HOME": str(root / "home"), "XDG_CACHE_HOME": str(root / "case/cache")}
        for line in sys.stdin:
            index, number, seed = map(int, line.split())
            layout, template = LAYOUTS[index], root / f"template-{index}"
            if not template.exists():
                template.mkdir()
                os.chdir(template)
                layout.prepare(template)
            shutil.copytree(
                template, root / "case", symlinks=True, dirs_exist_ok=True
            )  # making it may have cached something
            layout.make_hostile(root / "case", np.random.default_rng([seed, index, number]), number)
            answers.write(json.dumps(["made", ""]) + "\n")
            answers.write(json.dumps(do(layout, root / "case", watch)) + "\n")


if __name__ == "__main__":
    main()
