"""The two sides of a comparison: folders that a measuring process can import the library from.

The new side is the working tree as it is. The other one is a git revision, checked out into a temporary worktree that is removed whatever
happens; or a folder with the packages in it; or the version installed in this Python.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["INSTALLED", "Side", "SideError", "interruptible", "opened", "working_tree"]

INSTALLED = "installed"
PREFIX = "bench-track-"
CHECKOUT = "checkout"
TIMED = Path("bench/track/timed")


class SideError(RuntimeError):
    """A side of the comparison is not there."""


@dataclass(frozen=True)
class Side:
    """A version of the library.

    Attributes:
        label: what the user called it.
        root: folder that holds the packages.
        commit: full hash; None where it is not under git.
        dirty: whether its files differ from that commit.
    """

    label: str
    root: Path
    commit: str | None = None
    dirty: bool = False

    def __str__(self) -> str:
        name = f"{self.label} ({self.commit[:12]})" if self.commit and self.label != self.commit[:12] else self.label
        return name + (" with uncommitted changes" if self.dirty else "")


def working_tree(folder: Path) -> Side:
    """The side in the repository that contains `folder`, or in `folder` itself if it is under no git.

    Raises:
        SideError: if the library is not there.
    """
    top = git(folder, "rev-parse", "--show-toplevel")
    root = Path(top) if top is not None else folder.resolve()
    if not (root / "gebm").is_dir():
        raise SideError(f"{root} does not hold the package gebm; run this in a checkout of it, or name one with --repo")
    commit = git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") if top is not None else None
    return Side("working tree", root, commit, bool(commit and git(root, "status", "--porcelain")))


@contextmanager
def opened(against: str, new: Side) -> Iterator[Side]:
    """The side to compare with, in place until the end of the block.

    Arguments:
        against: a git revision of the new side's repository, a folder that holds `gebm`, or "installed".
        new: the new side.

    Raises:
        SideError: if there is no such thing, naming what would be right.
    """
    if against == INSTALLED:
        yield installed()
        return
    commit = None
    if new.commit is not None and not against.startswith("-"):
        commit = git(new.root, "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
    if commit is None:
        yield folder_side(against, new)
        return
    with worktree(new.root, commit) as root:
        if not (root / "gebm").is_dir():
            raise SideError(f"'{against}' ({commit[:12]}) does not hold the package gebm yet; take a later revision")
        yield Side(against, root, commit)


def folder_side(against: str, new: Side) -> Side:
    """A folder as a side, for what is not a revision."""
    if (Path(against) / "gebm").is_dir():
        return Side(against, Path(against).resolve())
    folder = "" if not Path(against).is_dir() else f"; the folder {against} does not hold the package gebm"
    if new.commit is None:
        why = "git is not installed" if shutil.which("git") is None else f"{new.root} is not a git repository"
        raise SideError(
            f"{why}, so there is no revision '{against}'{folder}; name a folder that holds gebm, or '{INSTALLED}'"
        )
    raise SideError(
        f"no revision '{against}' in {new.root}{folder}; `git fetch` it, or name another one, a folder that holds gebm, or '{INSTALLED}'"
    )


def installed() -> Side:
    """The version installed in this Python.

    Raises:
        SideError: if none is, or if it is an editable one, whose code is some working tree's.
    """
    try:
        distribution = importlib.metadata.distribution("gebm-bench")
    except importlib.metadata.PackageNotFoundError as error:
        raise SideError("gebm-bench is not installed in this Python; name a revision or a folder instead") from error
    root = Path(str(distribution.locate_file("")))
    if not (root / "gebm").is_dir():
        raise SideError(
            "gebm-bench is installed here in editable mode, so its code is a checkout's; name a revision or a folder instead"
        )
    return Side(f"gebm-bench {distribution.version}", root.resolve())


@contextmanager
def worktree(repository: Path, commit: str) -> Iterator[Path]:
    """A temporary checkout of a commit. Removed at the end, also of one interrupted; one left by a process that was killed outright is
    removed by the next.

    Raises:
        SideError: if git cannot make it.
    """
    remove_abandoned(repository)
    parent = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    root = parent / CHECKOUT
    try:
        said = run_git(repository, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(root), commit)
        if said.returncode:
            raise SideError(f"git cannot check out {commit[:12]}: {last_line(said.stderr)}")
        yield root
    finally:
        with undisturbed():
            remove_worktree(repository, root)


def remove_worktree(repository: Path, root: Path) -> None:
    """Remove a worktree, its folder and what git remembers of it."""
    run_git(repository, "worktree", "remove", "--force", str(root))
    shutil.rmtree(root.parent, ignore_errors=True)
    run_git(repository, "worktree", "prune")


def remove_abandoned(repository: Path) -> None:
    """Remove worktrees of this tool whose process is gone."""
    listed = git(repository, "worktree", "list", "--porcelain") or ""
    for line in listed.splitlines():
        root = Path(line.removeprefix("worktree "))
        owner = root.parent.name.removeprefix(PREFIX).split("-")[0]
        ours = line.startswith("worktree ") and root.name == CHECKOUT and root.parent.name.startswith(PREFIX)
        if ours and owner.isdecimal() and not alive(int(owner)):
            remove_worktree(repository, root)


def alive(process: int) -> bool:
    """Whether there is a process of that id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, so that it cleans up."""

    def stop(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not cut the cleaning up short."""
    previous = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None if there is no git or it fails."""
    said = run_git(folder, *arguments)
    return said.stdout.strip() if said.returncode == 0 else None


def run_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder; without git the answer is that of a failure."""
    tool = shutil.which("git")
    if tool is None:
        return subprocess.CompletedProcess(arguments, 127, "", "git is not installed")
    return subprocess.run([tool, "-C", str(folder), *arguments], capture_output=True, text=True, check=False)  # noqa: S603


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
