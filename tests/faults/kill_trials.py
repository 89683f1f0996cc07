"""`bench run` in processes of its own, struck at a moment drawn by chance; then typed again until it is done, and every number compared.

Two strikes leave another world behind: the dataset has another content, or torch says that it is another version and computes with other
kernels. What is found from then on is compared with an undisturbed run in that world.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.components.registry import BUILT_IN
from bench.core.run_folder import RunFolder, unfinished
from bench.core.store import Store

from .studies import cache_for, numbers, write_data, write_suite

__all__ = ["STRIKES", "Campaign"]

ROOT = Path(__file__).parents[2]
DATA, LIBRARY = "other data", "other library"
VERSION = "2.99.0"
ANOTHER_TORCH = {
    f"torch-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n",
    "version.py": f"__version__, debug, git_version = {VERSION!r}, False, ''\ncuda = hip = rocm = xpu = None\n",
    "sitecustomize.py": """
import importlib.util, pathlib, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch.version":
            return importlib.util.spec_from_file_location(name, pathlib.Path(__file__).with_name("version.py"))

sys.meta_path.insert(0, Finder)
""",
}
"""A folder for PYTHONPATH in which torch goes by another version."""
EDITS = {
    "images": ("gebm/networks/mlp.py", "LeakyReLU(0.1", "LeakyReLU(0.3"),
    "density": ("baselines/flows/affine.py", "torch.tanh(raw", "0.5 * torch.tanh(raw"),
}
"""A module that runs of a suite use, and what is written there instead of what."""
STEPS = 600
PATIENCE = 600.0  # seconds after which a command is stuck
TRIES = 4


def processes(session: int) -> dict[int, tuple[int, str]]:
    """The processes of a session: parent and command line by number."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = (int(fields[1]), command)
    return found


def roles(front: int) -> tuple[list[int], list[int]]:
    """The fork servers and the workers of a `bench run` that leads its session."""
    there = {number: parent for number, (parent, command) in processes(front).items() if "forkserver" in command}
    servers = [number for number, parent in there.items() if parent == front]
    return servers, [number for number, parent in there.items() if parent in servers]


def weights(found: dict[str, dict[str, Any]]) -> dict[tuple[str, str], Any]:
    """The tensors among what runs found."""
    return {(run, name): value for run, each in found.items() for name, value in each.items() if type(value) is tuple}


@dataclass
class Campaign:
    """A suite in a folder, and what its runs find undisturbed, by the world that they are in; '' is the one that every trial begins in."""

    suite: str
    folder: Path
    world: str = ""
    known: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    seconds: float = PATIENCE

    def __post_init__(self) -> None:
        self.file, self.root = write_suite(self.suite, self.folder, STEPS), self.folder / "store"
        self.cache, self.library, self.log = (self.folder / name for name in ("cache", "library", "log"))
        self.code = self.folder / "code"
        for package in BUILT_IN:
            shutil.copytree(ROOT / package, self.code / package, ignore=shutil.ignore_patterns("__pycache__"))
        for number in (signal.SIGINT, signal.SIGQUIT):  # which a shell has its background ignore
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        for name, text in ANOTHER_TORCH.items():
            (self.library / name).parent.mkdir(parents=True, exist_ok=True)
            (self.library / name).write_text(text)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        self.cache.mkdir()
        self.enter("")
        if self.suite == "images":
            cache_for(self.cache, self.source)
        begun = time.monotonic()
        self.undisturbed("")
        self.seconds = time.monotonic() - begun

    def enter(self, world: str) -> None:
        """Let commands find that world from now on."""
        self.world, content = world, int(world == DATA)
        if content != getattr(self, "content", None):
            self.content, self.source = content, write_data(self.suite, self.folder, content)

    def undisturbed(self, world: str) -> dict[str, dict[str, Any]]:
        """What the runs find in a world that nothing happens to; its extractor is kept for the trials."""
        if world not in self.known:
            self.fresh()
            self.enter(world)
            assert self.start().wait(PATIENCE) == 0
            self.known[world] = self.found()
            assert world == "" or weights(self.known[world]) != weights(self.known[""]), "the worlds are one"
            for path in (self.root / "cache").glob("*-cnn-*"):
                shutil.copy(path, self.cache)
        return self.known[world]

    def fresh(self) -> None:
        """Begin with a store that has nothing but its extractors."""
        self.enter("")
        shutil.rmtree(self.root, ignore_errors=True)
        Store(self.root).create()
        shutil.copytree(self.cache, self.root / "cache", dirs_exist_ok=True)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """`bench run`, two runs side by side, in a session of its own."""
        command = [sys.executable, "-m", "bench", "run", "--suite", str(self.file), "--store", str(self.root)]
        variables = os.environ | {"BENCH_CACHE": str(self.folder / "decoded")}
        if self.world == LIBRARY:
            variables |= {"PYTHONPATH": str(self.library), "ATEN_CPU_CAPABILITY": "default"}
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, "--dataset", self.source, "--seeds", "0", "--jobs", "2", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.code,  # where it finds our packages
                env=variables,
            )

    def folders(self) -> dict[str, RunFolder]:
        """The runs that there are something of; none of the real data, of which nothing is trained."""
        specs = (path.parent for path in sorted((self.root / "runs").glob("*/*/*/spec.json")))
        names = {str(path.relative_to(self.root / "runs")): RunFolder(path) for path in specs}
        return {name: folder for name, folder in names.items() if "/data/" not in name}

    def found(self) -> dict[str, dict[str, Any]]:
        """The numbers of all runs that are done, and pass for trained in the present world."""

        def counts(folder: RunFolder) -> bool:
            status, training = folder.read_json("status.json"), folder.training()
            other = bool(training and training["stage"]["versions"]["torch"] == VERSION)
            return bool(status and status["state"] == "done") and other == (self.world == LIBRARY)

        return {name: numbers(Store(self.root), name) for name, folder in self.folders().items() if counts(folder)}

    def half_trained(self) -> list[str]:
        """Runs of which there is a state to be continued."""
        begun = {name: folder for name, folder in self.folders().items() if (folder / "resume.pt").exists()}
        return [name for name, each in begun.items() if not (known := each.training()) or unfinished(known)]

    def trial(self, strike: str, seed: int) -> str:
        """Strike a `bench run`, then type it again until it is done; '' if it ends with the numbers expected of it, else what is wrong."""
        if strike in LEAVES:
            self.undisturbed(LEAVES[strike])
        self.fresh()
        said = self.log.stat().st_size
        chance = random.Random(f"{strike} {seed}")
        front = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            front.wait(chance.uniform(0.1, 1.0) * self.seconds)
        others = STRIKES[strike](self, front.pid, chance) or []
        for process in (front, *others):
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "stuck after the fault"
        if strike in (*LEAVES, *QUIET) and (wrong := self.badly_told(said)):
            return wrong
        if self.world == DATA:
            self.enter(chance.choice([DATA, ""]))  # or what was there before comes back
        begun = self.half_trained()
        if wrong := self.typed_again() or self.changed():
            return wrong
        if self.world == LIBRARY:
            text = self.log.read_bytes()[said:].decode()
            if unsaid := [run for run in begun if f"{run}/resume.pt was left by other code, libraries" not in text]:
                return f"begun again without a word: {unsaid[0]}"
            if wrong := self.typed_again("--retrain") or self.changed():
                return wrong
        missing = self.known[self.world].keys() - self.found().keys()
        return f"missing: {min(missing)}" if missing else ""

    def typed_again(self, *options: str) -> str:
        """Give the command until it is done; '' if it is."""
        for _ in range(TRIES):
            process = self.start(*options)
            try:
                if process.wait(PATIENCE) == 0:
                    return ""
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return "stuck when typed again"
        return "lost: not done after it was typed four times more"

    def changed(self) -> str:
        """Which numbers differ from those of undisturbed runs, in this world or of another content; '' if none does."""
        worlds = sorted(self.known.values(), key=lambda known: known is self.known[self.world])
        expected = {run: each for known in worlds for run, each in known.items()}
        names = [
            f"{run} {name}"
            for run, each in self.found().items()
            for name in each.keys() | expected[run].keys()
            if each.get(name) != expected[run].get(name)
        ]
        return "changed: " + ", ".join(sorted(names)[:3]) if names else ""

    def badly_told(self, said: int) -> str:
        """What a command said, from that byte of the log on, or recorded of a run, that is more than a line; '' if nothing."""
        records = [folder.read_json("status.json") or {"reason": ""} for folder in self.folders().values()]
        reasons = [record["reason"] for record in records if record["reason"].startswith("error: ")]
        return "a traceback" if b"Traceback" in self.log.read_bytes()[said:] else "".join(reasons[:1])


Strike = Callable[[Campaign, int, random.Random], Any]


def kill(number: int, signal_number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal_number)


def worker_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL one worker."""
    if workers := roles(front)[1]:
        kill(chance.choice(workers))


def server_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL the server that workers are forked from."""
    for number in roles(front)[0]:
        kill(number)


def front_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL the command; its workers end by themselves."""
    kill(front)


def all_killed(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGKILL everything at once."""
    for number in [front, *processes(front)]:
        kill(number)


def worker_paused(_: Campaign, front: int, chance: random.Random) -> None:
    """SIGSTOP a worker for a while."""
    if workers := roles(front)[1]:
        number = chance.choice(workers)
        kill(number, signal.SIGSTOP)
        time.sleep(chance.uniform(1, 5))
        kill(number, signal.SIGCONT)


def asked(number: int) -> Strike:
    """A signal to the command, on which it saves what is running."""

    def strike(_: Campaign, front: int, chance: random.Random) -> None:
        kill(front, number)

    return strike


def joined(campaign: Campaign, front: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """One or three more commands on the same store."""
    return [campaign.start() for _ in range(chance.choice([1, 3]))]


def joined_and_killed(campaign: Campaign, front: int, chance: random.Random) -> list[subprocess.Popen[bytes]]:
    """A second command on the same store, and the first one killed."""
    others = [campaign.start()]
    time.sleep(chance.uniform(0, campaign.seconds))
    all_killed(campaign, front, chance)
    return others


def cache_deleted(campaign: Campaign, front: int, chance: random.Random) -> None:
    """The cache folder vanishes, all but the extractor, which would take a minute."""
    for path in (campaign.root / "cache").iterdir():
        if path.is_file() and "cnn" not in path.name:
            path.unlink(missing_ok=True)


def damaged(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, and a file of a run is flipped in one bit or cut short."""
    all_killed(campaign, front, chance)
    files = [path for path in sorted((campaign.root / "runs").rglob("*")) if path.is_file() and path.stat().st_size]
    if files:
        path = chance.choice(files)
        content = bytearray(path.read_bytes())
        at = chance.randrange(len(content))
        content[at] ^= 1 << chance.randrange(8)
        path.write_bytes(content if chance.random() < 0.5 else content[:at])


def clock_set_back(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, and what was written is of tomorrow."""
    all_killed(campaign, front, chance)
    for path in campaign.root.rglob("*"):
        os.utime(path, times=(time.time() + 86_400,) * 2)


def starved(_: Campaign, front: int, chance: random.Random) -> None:
    """A worker gets no more memory than it has."""
    if workers := roles(front)[1]:
        number = chance.choice(workers)
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{number}/statm").read_text().split()[0])
            size = pages * os.sysconf("SC_PAGE_SIZE")
            resource.prlimit(number, resource.RLIMIT_AS, (size, size))


def all_asked(_: Campaign, front: int, chance: random.Random) -> None:
    """A signal to all processes at once, as a terminal sends it on Ctrl-C, on Ctrl-\\ or as it closes, and a batch system at the end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(front, chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]))


def server_asked(_: Campaign, front: int, chance: random.Random) -> None:
    """A signal to the server that workers are forked from, to which it does not listen."""
    for number in roles(front)[0]:
        kill(number, chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP]))


def worker_crashed(_: Campaign, front: int, chance: random.Random) -> None:
    """A worker ends by a signal of an error, or by one that has no name."""
    if workers := roles(front)[1]:
        kill(
            chance.choice(workers), chance.choice([signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGRTMIN + 3])
        )


def await_end(front: int) -> None:
    """Wait for the end of a command, of which others are yet to be told if they have not been."""
    end = time.monotonic() + PATIENCE
    with contextlib.suppress(ChildProcessError):  # it had ended before it was struck
        while not os.waitid(os.P_PID, front, os.WEXITED | os.WNOWAIT | os.WNOHANG) and time.monotonic() < end:
            time.sleep(0.05)


def store_moved(campaign: Campaign, front: int, chance: random.Random) -> None:
    """The store's folder gets another name, and has its own again when the command has ended."""
    end = time.monotonic() + PATIENCE
    suites = campaign.root / "suites"
    while not any(suites.iterdir()) and time.monotonic() < end:  # before it has begun it would make a store of its own
        time.sleep(0.01)
    campaign.root.rename(moved := campaign.folder / "moved")
    await_end(front)
    assert not (campaign.root / "runs").exists(), "another store was begun"
    shutil.rmtree(campaign.root, ignore_errors=True)
    moved.rename(campaign.root)


def replaced(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, and in a run there is a folder or a link to nowhere where a file was, or a file where the folder was."""
    all_killed(campaign, front, chance)
    paths = [path for folder in campaign.folders().values() for path in sorted(folder.path.rglob("*"))]
    if paths:
        path = chance.choice(paths)
        if path.is_dir():
            shutil.rmtree(path)
            path.touch()
        else:
            path.unlink()
            chance.choice([lambda: (path / "x").mkdir(parents=True), lambda: path.symlink_to("nowhere")])()


def limited(_: Campaign, front: int, chance: random.Random) -> None:
    """A worker may write only short files, or open no more of them."""
    if workers := roles(front)[1]:
        number = chance.choice(workers)
        with contextlib.suppress(OSError):
            if chance.random() < 0.5:
                resource.prlimit(number, resource.RLIMIT_FSIZE, (2**11,) * 2)
            else:
                resource.prlimit(number, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{number}/fd").iterdir())),) * 2)


def data_changed(campaign: Campaign, front: int, chance: random.Random) -> None:
    """The dataset's files are written over, by another content or by the first half of one; in the end they are whole."""
    campaign.enter(DATA)
    if chance.random() < 0.3:
        path = chance.choice(sorted(path for path in campaign.folder.glob("*") if path.name in ("rows.npy", "drawn")))
        for file in [path] if path.is_file() else chance.sample(sorted(path.rglob("*.png")), 50):
            os.truncate(file, file.stat().st_size // 2)
        campaign.content = -1


def library_changed(campaign: Campaign, front: int, chance: random.Random) -> None:
    """Everything is killed, or asked to end, and goes on with another version of torch."""
    chance.choice([all_killed, asked(signal.SIGTERM)])(campaign, front, chance)
    campaign.world = LIBRARY


def part_removed(campaign: Campaign, front: int, chance: random.Random) -> None:
    """A run's folder, or one of the store's own, or the file that says what it is, is removed."""
    own = [campaign.root / name for name in ("locks", "suites", "aside", "store.json")]
    paths = [path for path in (*own, *(folder.path for folder in campaign.folders().values())) if path.exists()]
    chance.choice(paths).rename(gone := campaign.folder / "gone")
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()


def code_edited(campaign: Campaign, front: int, chance: random.Random) -> None:
    """A module that the runs use is edited, and as it was when the command has ended."""
    name, old, new = EDITS[campaign.suite]
    text = (campaign.code / name).read_text()
    assert old in text
    (campaign.code / name).write_text(text.replace(old, new))
    await_end(front)
    (campaign.code / name).write_text(text)


LEAVES = {"dataset changed": DATA, "ended, library changed": LIBRARY}
"""Strikes that leave another world, and which."""
QUIET = ("all asked to end", "fork server asked to end", "worker crashed", "store moved", "code edited meanwhile")
"""Strikes of which a command may say no more than a line."""

STRIKES: dict[str, Strike] = {
    "worker killed": worker_killed,
    "front end killed": front_killed,
    "fork server killed": server_killed,
    "all killed": all_killed,
    "worker paused": worker_paused,
    "SIGINT": asked(signal.SIGINT),
    "SIGTERM": asked(signal.SIGTERM),
    "two or four commands": joined,
    "two commands, one killed": joined_and_killed,
    "cache deleted": cache_deleted,
    "killed, a file damaged": damaged,
    "killed, clock set back": clock_set_back,
    "no more memory": starved,
    "dataset changed": data_changed,
    "ended, library changed": library_changed,
    "all asked to end": all_asked,
    "fork server asked to end": server_asked,
    "worker crashed": worker_crashed,
    "store moved": store_moved,
    "killed, a file replaced": replaced,
    "few or short files": limited,
    "part of the store removed": part_removed,
    "code edited meanwhile": code_edited,
}
