"""Commands that write elsewhere than into a run, struck on the way: typed again they end as if nothing had happened.

What they read is as it was. Power is lost after operations drawn by chance, and calls that write are refused, as in `test_disk.py`.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.core.campaign import Campaign
from bench.core.plan import Selection, make_plan
from bench.core.runner import execute
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Places

from .disk import Log, crashed, failing, lay_out, recording
from .disk_trials import REFUSALS
from .studies import cache_for, write_suite
from .test_disk import drawn, told

COMMANDS: Mapping[str, tuple[str, str]] = {
    "merge": ("", "merge {folder}/all --into {out}"),
    "merge, more readouts": ("some", "merge {folder}/all --into {out}"),
    "sync": ("", "sync {folder}/all {out}"),
    "fetch": ("", "data fetch mnist-10k --from {folder}/files --accept-unverified"),
    "publish": ("", "publish gebm --store {folder}/all --to {out}/model"),
    "weights": ("", "weights gebm {out} --store {folder}/all --shard 16KB"),
    "export": ("", "export {out}/scores.csv --store {folder}/all"),
    "report": ("", "report --store {folder}/all --out {out}"),
    "html": ("", "report --store {folder}/all --format html --out {out}/page.html"),
    "sample": ("", "sample gebm --store {folder}/all --n 9 --steps 2 --out {out}/samples.npz"),
    "init": ("", "suite init mine"),
}
"""By a name what is in the folder before, and what is typed."""
KEPT = ("merge", "merge, more readouts", "sync", "fetch")
"""After these one may delete what was copied, so that it must outlive a power cut."""


@dataclass
class Command:
    """One command, and what it writes into a folder when nothing happens to it."""

    name: str
    folder: Path
    log: Log = field(init=False)
    expected: dict[str, bytes] = field(init=False)

    def __post_init__(self) -> None:
        before, self.typed = COMMANDS[self.name]
        self.out = self.folder / "out" / self.name.partition(",")[0]
        self.before: dict[str, bytes | None] = everything(self.folder / before) if before else {}
        self.read = everything(self.folder / "all")
        self.fresh()
        with recording(self.out) as self.log:
            assert not self.wrong_end(), self.wrong_end()
        self.expected = self.written()

    def fresh(self) -> None:
        """Lay out what there was before the command."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(parents=True)
        lay_out(self.before, self.out)

    def written(self) -> dict[str, bytes]:
        """What it wrote, without locks and caches."""
        return {
            name: content
            for name, content in everything(self.out).items()
            if content is not None and not name.startswith(("locks/", "cache/"))
        }

    def wrong_end(self, refused: bool = False) -> str:
        """Type it; '' if it did what it should, or, where the disk refused something, said in a line that it cannot."""
        typed = self.typed.format(out=self.out, folder=self.folder).split()
        environment = {"BENCH_DATA": str(self.out), "BENCH_CACHE": str(self.folder / "decoded")}
        with mock.patch.dict(os.environ, environment), contextlib.chdir(self.out):
            ended = CliRunner().invoke(main, typed)
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            return f"raised {type(ended.exception).__name__}: {ended.exception}"
        if ended.exit_code == 0:
            return ""
        lines = ended.stderr.strip().splitlines()
        if refused and ended.exit_code == 1 and all(line.startswith("bench: ") for line in lines):
            return "refused" * bool(lines)
        return f"code {ended.exit_code}: {ended.output[-300:]}"

    def changed(self) -> str:
        """In what the folder is not what is expected; '' if in nothing."""
        found = self.written()
        names = sorted(
            name for name in found.keys() | self.expected.keys() if found.get(name) != self.expected.get(name)
        )
        return f"changed: {', '.join(names[:3])}" if names else ""

    def ended_well(self) -> str:
        """Type it again on a disk that is well; '' if all is as if nothing had happened."""
        if wrong := self.wrong_end() or self.changed():
            return wrong
        return "" if everything(self.folder / "all") == self.read else "it changed what it reads"


def everything(folder: Path) -> dict[str, bytes | None]:
    """The contents of a folder by name, None for a folder; without what readers cache in a store."""
    found = {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {name: content for name, content in found.items() if not name.startswith("cache/scan-")}


def power_cut(command: Command, length: int, seed: int | None) -> str:
    """Lose power after so many operations, and type the command again; '' if all is well afterwards."""
    command.fresh()
    chance = None if seed is None else random.Random(f"{length} {seed}")
    left = crashed(command.log, length, chance, command.before)
    shutil.rmtree(command.out)
    command.out.mkdir()
    lay_out(left, command.out)
    if length == len(command.log.operations) and command.name in KEPT and (lost := command.changed()):
        return f"lost after its end; {lost}"
    return command.ended_well()


def refused(command: Command, name: str, number: int, lasting: bool) -> str:
    """Refuse a call with an error, then type the command again on a disk that is well; '' if all is well afterwards."""
    command.fresh()
    with failing(command.out, number, REFUSALS[name], lasting) as found:
        end = command.wrong_end(refused=True)
    if not found.refused:
        return "nothing was refused"
    if end != "refused" and (wrong := end or command.changed()):
        return f"{found.refused[0]}: {wrong}"
    return command.ended_well()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of the same trained runs, the second with readouts that the first lacks, and files of a dataset."""
    folder = tmp_path_factory.mktemp("commands")
    suite = write_suite("images", folder, 12)
    less = folder / "less.toml"
    less.write_text(suite.read_text().replace("lengths = [2, 4]", "lengths = [2]"))
    Store(folder / "some").create()
    cache_for(folder / "some" / "cache")
    for path, store in ((less, folder / "some"), (suite, folder / "all")):
        if not store.exists():
            shutil.copytree(folder / "some", store)
        loaded = load_suite(str(path))
        plan = make_plan(loaded, Selection(models=["gebm", "gan-ns"], seeds=[0]), Places(store, device="cpu"))
        for planned in plan:
            assert execute(planned.task, lambda _: None, lambda: False).state in ("done", "hit")
        Campaign(loaded, "quick", plan, Store(store), 1).remember()
    (folder / "files").mkdir()
    for name, values in (("images-idx3", np.zeros((60, 28, 28), np.uint8)), ("labels-idx1", np.arange(60) % 10)):
        head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
        content = gzip.compress(head + values.astype(np.uint8).tobytes())
        (folder / "files" / f"t10k-{name}-ubyte.gz").write_bytes(content)
    return folder


@pytest.fixture(scope="module", params=COMMANDS)
def command(request: pytest.FixtureRequest, folder: Path) -> Command:
    return Command(request.param, folder)


def test_power_cuts(command: Command) -> None:
    end = len(command.log.operations)
    cases = [*drawn(list(itertools.product(range(end + 1), (None, 0, 1)))), (end, None)]
    told("power cut", command.name, cases, partial(power_cut, command))


def test_refused_calls(command: Command) -> None:
    cases: list[tuple[str, int, bool]] = []
    for name, error in REFUSALS.items():
        command.fresh()
        with failing(command.out, 0, error, False) as counted:
            assert not command.wrong_end()
        cases += itertools.product([name], range(1, counted.calls + 1), (False, True))
    told("refused call", command.name, drawn(cases), partial(refused, command))
