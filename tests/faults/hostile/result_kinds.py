"""What the harness reads besides data: suites, claims, stores, checkpoints, caches, the history of throughput, the environment."""

# ruff: noqa: E501  (tables of cases)
from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from bench.claims import load_claims
from bench.cli import main
from bench.core.campaign import Campaign
from bench.core.fields import content_hash
from bench.core.plan import Selection, make_plan
from bench.core.runner import execute
from bench.core.session import Session
from bench.core.store import Store
from bench.core.suite import find_suite, load_suite
from bench.core.task import Places
from bench.files import write_sealed
from bench.images.refits import _read
from bench.metrics.cache import read_or_compute
from bench.results.weights import read_weights
from gebm.samplers import ULA
from tests import synthetic_store
from tests.bench.conftest import TINY

from .layouts import Layout, Rng, Spoil, either
from .spoiling import JSON, TEXTS, any_of, drawn, json_bytes, spoiled_bytes, spoiled_json, spoiled_text
from .writing import put

__all__ = ["RESULTS"]

DRAWN = drawn(JSON, 300)
DEEP = "[" * 100_000
NETWORK = {"0.weight": torch.ones(3, 2), "0.bias": torch.zeros(3)}


def command(*words: str) -> Callable[[Path], object]:
    """Run a command in the folder; an exit code that is not 0 or 1 without a message would be an error of its own."""

    def run(_folder: Path) -> None:
        try:
            main([*words], standalone_mode=False)
        except SystemExit as end:
            if end.code not in (0, 1):
                raise AssertionError(f"exit code {end.code}") from end

    return run


def sealed_json(content: bytes, rng: Rng) -> bytes:
    """A JSON file of the store with other values in it and a seal that is right."""
    value = spoiled_json({key: each for key, each in json.loads(content).items() if key != "sha256"}, rng, DRAWN)
    try:
        return json_bytes(value | {"sha256": content_hash(value)}) if isinstance(value, dict) else json_bytes(value)
    except ValueError:  # what JSON cannot hold
        return spoiled_bytes(content, rng)


def spoiled_result(content: bytes, rng: Rng) -> bytes:
    """Any file of a run spoiled: JSON with a right seal, a line of JSON lines, or bytes."""
    if content[:1] != b"{" or rng.random() > 0.8:
        return spoiled_bytes(content, rng)
    lines = content.splitlines()
    if lines[0] == b"{":
        return sealed_json(content, rng)
    number = int(rng.integers(len(lines)))
    lines[number] = json_bytes(spoiled_json(json.loads(lines[number]), rng, DRAWN))
    return b"\n".join(lines)


def vouched(folder: Path, file: Path) -> None:
    """Let training.json and the status vouch for a spoiled file, as if the harness had written it."""
    run = next((each for each in file.parents if (each / "status.json").is_file()), None)
    for record in ("training.json", "status.json"):
        if run is None or file.name == record:
            continue
        try:
            found = json.loads((run / record).read_text())
            files = found["files"]
        except (ValueError, KeyError, TypeError):
            continue
        name = str(file.relative_to(run))
        if name in files:
            synthetic_store.change(run / record, files=files | {name: synthetic_store.keep(file, file.read_bytes())})
            if record == "training.json" and name == "checkpoint.safetensors":
                digest = synthetic_store.keep(file, file.read_bytes())
                synthetic_store.change(run / record, checkpoint=digest)
            file = run / record if record == "training.json" else file


def table(folder: Path) -> str:
    """A small table of one's own."""
    path = folder / "t.csv"
    np.savetxt(path, np.random.default_rng(0).normal(size=(150, 2)), "%.5f", ",", header="a,b", comments="")
    return f"csv:{path}"


def plan_of(folder: Path) -> Any:
    """A plan of two models that are quick to train."""
    selection = Selection(datasets=[f"csv:{folder / 't.csv'}"], models=["flow-gaussian", "kde"], seeds=[0])
    return make_plan(load_suite("density"), selection, Places(folder / "runs", device="cpu"))


def trained(folder: Path) -> None:
    """A store of two trained models, a report in it, and its scan kept."""
    table(folder)
    store = Store(folder / "runs").create()
    planned = plan_of(folder)
    for each in planned:
        assert execute(each.task, lambda _: None, lambda: False).state == "done"
    Campaign(load_suite("density"), "quick", planned, store, 1, tag="first").remember()
    command("status")(folder)
    for form in ("html", "json"):
        command("report", "--format", form, "--out", str(folder))(folder)
        (folder / f"report.{form}").unlink()


def made_up(folder: Path) -> None:
    """A store of made-up runs of images."""
    synthetic_store.make(folder / "runs", 1, 2, 2)
    command("report", "--format", "html", "--out", str(folder))(folder)
    (folder / "report.html").unlink()


def reads_store(*commands: str, plans: bool = False) -> Callable[[Path], object]:
    """Read a store in all these ways, and raise the first error at the end."""

    def read(folder: Path) -> None:
        errors = []
        for step in (*(command(*words.split()) for words in commands), *([plan_of] if plans else [])):
            try:
                step(folder)
            except Exception as error:
                if not {each.__name__ for each in type(error).__mro__} & {
                    "ClickException",
                    "StoreError",
                    "NothingToReportError",
                }:
                    raise
                errors.append(error)
        if errors:
            raise errors[0]

    return read


TABLES = ("status", "report --format json", "export scores.csv")
PAGES = ("report --format latex --out page.tex", "report --format html --out page.html", "compare runs runs", "claims")


def resealed(spoil: Spoil) -> Callable[[bytes, Rng], bytes]:
    """Spoil what is behind a seal, and put a right one in front of it."""
    import hashlib

    def change(content: bytes, rng: Rng) -> bytes:
        inner = spoil(content[32:], rng)
        return hashlib.sha256(inner).digest() + inner

    return change


def spoiled_tree(content: bytes, rng: Rng) -> bytes:
    """JSON with other values in it."""
    return json_bytes(spoiled_json(json.loads(content), rng, DRAWN))


def spoiled_tensors(content: bytes, rng: Rng) -> bytes:
    """A safetensors file with another header, whose length is right, or with bytes changed."""
    size = int.from_bytes(content[:8], "little")
    header = spoiled_tree(content[8 : 8 + size], rng)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]


def weights(folder: Path) -> None:
    """A folder of weights as `bench weights` writes them."""
    from bench.results.weights import write_weights

    (folder / "weights").mkdir()
    write_weights(NETWORK, {"run": "x"}, folder / "weights", 10_000)


def taken(folder: Path) -> None:
    """Take weights into the harness's own network, and see that they are numbers of its shapes."""
    for name, value in read_weights(folder / "weights").items():
        value.sum().item()
        assert name.isprintable() or name


def resume(folder: Path) -> None:
    """A training that was left off."""

    class Phase:
        done, total = 0, 2

        def step(self) -> dict[str, Any]:
            self.done += 1
            return {"loss": torch.tensor(1.0)}

        def state_dict(self) -> dict[str, Any]:
            return {"done": self.done, "weights": torch.zeros(10)}

        def load_state_dict(self, state: dict[str, Any], /) -> None:
            self.done = state["done"]

    Session(folder, "code", lambda _: None, lambda: False, save_every=0.0).drive("training", Phase())


def restored(folder: Path) -> None:
    """Continue a training that was left off."""
    Session(folder, "code", lambda _: None, lambda: False)


def cached(folder: Path) -> None:
    """Tensors in a cache."""
    write_sealed(folder / "x.sealed", save(NETWORK))


def computed(folder: Path) -> None:
    """Read tensors from a cache, or compute them."""
    read_or_compute(folder / "x.sealed", lambda: NETWORK)


def recordings(folder: Path) -> None:
    """A history of seven recordings on one machine."""
    for commit in range(12):
        said = {"seconds": [[0.5 + commit / 100] * 3] * 2, "amount": 2.0, "unit": "naps", "version": "v"}
        value = {"schema": 1, "machine": "m", "commit": f"{commit:040x}", "commit_time": float(commit), "recorded": 1.0}
        put(f"history/m/{commit:010d}.json", json.dumps(value | {"benchmarks": {"nap": said, "walk": said}}).encode())(
            folder
        )


VARIABLES = (
    "BENCH_DATA",
    "BENCH_CACHE",
    "BENCH_WEIGHTS",
    "BENCH_STORE",
    "BENCH_HISTORY",
    "BENCH_THREADS",
    "HOME",
    "XDG_CACHE_HOME",
    "CUDA_VISIBLE_DEVICES",
)
SETTINGS = [text for text in TEXTS if "\0" not in text and "\ud800" not in text]
SETTINGS += [
    "/dev/null",
    "/proc/self/mem",
    "file",
    "loop",
    "/" + "x" * 5000,
    "\udcff\udcfe",
    "runs/../..",
    "//",
    "0",
    "-1",
]


def surroundings(folder: Path) -> None:
    """A folder in which variables may point at odd things."""
    (folder / "file").write_text("x")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "settings").write_text("{}")


def spoiled_settings(_content: bytes, rng: Rng) -> bytes:
    """A few variables with hostile values, and a command."""
    chosen = {any_of(rng, VARIABLES): any_of(rng, SETTINGS) for _ in range(int(rng.integers(1, 4)))}
    commands = (
        "list datasets",
        "data list",
        "data verify digits",
        "status",
        "plan --suite images --model gebm --device cpu",
        "track history",
        "data fetch redwine --from t",
    )
    return json.dumps([any_of(rng, commands), chosen]).encode()


def under_settings(folder: Path) -> None:
    """Run a command with those variables."""
    if len(said := json.loads((folder / "settings").read_text())) != 2:
        return
    before = dict(os.environ)
    try:
        os.environ.update(said[1])
        os.environ.setdefault("BENCH_CACHE", str(folder / "cache"))
        command(*said[0].split())(folder)
    finally:
        os.environ.clear()
        os.environ.update(before)


def planned_suite(folder: Path) -> None:
    """Plan a suite of one's own, which is as far as a file can lead before a run."""
    command("plan", "--suite", "mine.toml", "--device", "cpu", "--store", "runs")(folder)


def too_deep(name: str, text: str) -> Callable[[Path], object]:
    """A file nested so deeply that readers fall over."""
    return put(name, text.encode())


ULA(step_size=0.1)  # what a suite names is imported before anything is watched
CLAIMS = (Path(load_claims.__code__.co_filename).parent / "guided.toml").read_bytes().replace(b'id = "', b'id = "my-')
STATUS = "runs/runs/csv-t/*/*/status.json"


def nested(pattern: str) -> Callable[[Path], object]:
    """Replace a file of the store by lists in lists."""
    return lambda folder: next(iter(folder.glob(pattern))).write_text(DEEP)


def renamed(**changes: Any) -> Callable[[Path], object]:
    """Change what a manifest says of its runs, under a right seal."""

    def change(folder: Path) -> None:
        path = next(iter(folder.glob("runs/suites/*.json")))
        found = json.loads(path.read_text())
        runs = [run | changes for run in found["runs"]]
        synthetic_store.change(
            path, **({"runs": runs} | {key: changes[key] for key in ("suite", "profile", "kind") if key in changes})
        )

    return change


STORES = [
    nested(pattern)
    for pattern in (
        STATUS,
        "runs/suites/*.json",
        "runs/store.json",
        "runs/runs/*/*/*/training.json",
        "runs/runs/*/*/*/spec.json",
    )
]
STORES += [
    renamed(dataset=text, model=text, run=text)
    for text in ("../../../../etc", "/etc", "<script>alert(1)</script>", "=cmd|calc", "\\input{x}", "")
]
STORES += [renamed(kind=text) for text in ("os", "../x", "density.models", "")]
ANY = "runs/[rst]*/**/*"
RESULTS = [
    Layout("suite", put("mine.toml", TINY.encode()), planned_suite, spoiled_text, "mine.toml", [
        put("mine.toml", f"name = {DEEP}".encode()), put("mine.toml", ("a." * 50_000 + "b = 1").encode()),
        put("mine.toml", f"name = {'9' * 100_000}".encode()), put("mine.toml", b"x" * 9_000_000), put("mine.toml", ("[a]\n" * 100_000).encode())]),
    Layout("suite", put("mine.toml", find_suite("density").read_bytes()), planned_suite, spoiled_text, "mine.toml"),
    Layout("claims", put("mine.toml", CLAIMS), lambda folder: load_claims([folder / "mine.toml"]), spoiled_text, by_hand=[put("mine.toml", f"claim = {DEEP}".encode())]),
    Layout("checkpoint", put("g.safetensors", save(NETWORK)), lambda folder: _read(folder / "g.safetensors", nn.Sequential(nn.Linear(2, 3))), either(spoiled_bytes, spoiled_tensors), by_hand=[
        put("g.safetensors", b"\xff" * 8 + b"{}"), put("g.safetensors", len(DEEP).to_bytes(8, "little") + DEEP.encode()),
        put("g.safetensors", (90_000_000).to_bytes(8, "little") + b"{}")]),
    Layout("checkpoint", weights, taken, spoiled_result),
    Layout("checkpoint", resume, restored, either(spoiled_bytes, resealed(spoiled_bytes)), "resume.pt"),
    Layout("store", trained, reads_store(*TABLES, plans=True), spoiled_result, ANY, STORES),
    Layout("store", trained, reads_store(*TABLES, plans=True), spoiled_result, ANY, finish=vouched),
    Layout("store", trained, reads_store(*PAGES), spoiled_result, ANY, STORES, finish=vouched, weight=1),
    Layout("store", made_up, reads_store(*TABLES), spoiled_result, ANY, finish=vouched),
    Layout("store", made_up, reads_store(PAGES[0], PAGES[3]), spoiled_result, ANY, finish=vouched, weight=1),
    Layout("store", made_up, reads_store(PAGES[1]), spoiled_result, ANY, weight=1, finish=vouched),
    Layout("cache", trained, reads_store(*TABLES), either(spoiled_bytes, resealed(spoiled_bytes), resealed(spoiled_tree)), "runs/cache/*.sealed"),
    Layout("cache", cached, computed),
    Layout("history", recordings, command("track", "history", "--history", "history"), either(spoiled_bytes, spoiled_tree, spoiled_tree), by_hand=[put("history/m/x.json", DEEP.encode())]),
    Layout("environment", surroundings, under_settings, spoiled_settings, "settings"),
]  # fmt: skip
