"""The two sides of a check: folders that a measuring process can import the library from.

The new side is the working tree as it is. The old one is a git revision, unpacked into a temporary folder; or a folder that holds the
packages; or the version installed in this Python.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["INSTALLED", "Checkout", "CheckoutError", "git", "opened", "working_tree"]

INSTALLED = "installed"


class CheckoutError(RuntimeError):
    """A side of the check is not there."""


@dataclass(frozen=True)
class Checkout:
    """A version of the library on disk.

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
        commit = f" ({self.commit[:12]})" if self.commit and self.label != self.commit[:12] else ""
        return f"{self.label}{commit}{' with uncommitted changes' if self.dirty else ''}"


def working_tree(folder: Path) -> Checkout:
    """Return the repository that contains `folder`, or `folder` itself if it is not under git.

    Raises:
        CheckoutError: if the library is not there.
    """
    top = git(folder, "rev-parse", "--show-toplevel")
    root = Path(top) if top is not None else folder.resolve()
    if not (root / "gebm").is_dir():
        raise CheckoutError(
            f"{root} does not hold the package gebm; run this in a checkout of it, or name one with --repo"
        )
    commit = commit_of("HEAD", root) if top is not None else None
    return Checkout("working tree", root, commit, bool(commit and git(root, "status", "--porcelain")))


@contextmanager
def opened(against: str, new: Checkout) -> Iterator[Checkout]:
    """Provide the old side until the end of the block.

    Arguments:
        against: a git revision of the new side's repository, a folder that holds `gebm`, or "installed".
        new: the new side.

    Raises:
        CheckoutError: if there is no such thing, naming what would be right.
    """
    commit = commit_of(against, new.root) if new.commit is not None and against != INSTALLED else None
    if commit is None:
        yield installed() if against == INSTALLED else from_folder(against, new)
        return
    if git(new.root, "cat-file", "-e", f"{commit}:gebm") is None:
        raise CheckoutError(f"'{against}' ({commit[:12]}) does not hold the package gebm yet; take a later revision")
    with tempfile.TemporaryDirectory(prefix="bench-track-") as folder:
        root = Path(folder).resolve()
        archive = root / ".tar"
        if git(new.root, "archive", "--format=tar", f"--output={archive}", commit) is None:
            raise CheckoutError(f"git cannot unpack '{against}' ({commit[:12]}) into {root}")
        with tarfile.open(archive) as files:
            files.extractall(root, filter="data")
        archive.unlink()
        yield Checkout(against, root, commit)


def from_folder(against: str, new: Checkout) -> Checkout:
    """Return a folder as the old side, for what is not a revision."""
    if (Path(against) / "gebm").is_dir():
        return Checkout(against, Path(against).resolve())
    wrong = f"; the folder {against} does not hold the package gebm" if Path(against).is_dir() else ""
    choices = f"a folder that holds gebm, or '{INSTALLED}'"
    if new.commit is not None:
        raise CheckoutError(
            f"no revision '{against}' in {new.root}{wrong}; `git fetch` it, or name another one, {choices}"
        )
    why = "git is not installed" if shutil.which("git") is None else f"{new.root} is not a git repository"
    raise CheckoutError(f"{why}, so there is no revision '{against}'{wrong}; name {choices}")


def installed() -> Checkout:
    """Return the version installed in this Python."""
    try:
        distribution = importlib.metadata.distribution("gebm-bench")
    except importlib.metadata.PackageNotFoundError as error:
        raise CheckoutError(
            "gebm-bench is not installed in this Python; name a revision or a folder instead"
        ) from error
    root = Path(str(distribution.locate_file("")))
    if not (root / "gebm").is_dir():
        raise CheckoutError(
            "gebm-bench is installed here in editable mode, so its code is a checkout's; name a revision or a folder instead"
        )
    return Checkout(f"gebm-bench {distribution.version}", root.resolve())


def commit_of(revision: str, repository: Path) -> str | None:
    """Return the full hash of a revision, if there is one."""
    if revision.startswith("-"):
        return None
    return git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")


def git(folder: Path, *arguments: str) -> str | None:
    """Return git's output, or None if it fails or is not installed."""
    if (tool := shutil.which("git")) is None:
        return None
    done = subprocess.run([tool, "-C", str(folder), *arguments], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() if done.returncode == 0 else None
