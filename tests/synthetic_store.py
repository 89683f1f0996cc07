"""A store of made-up runs, as sound as real ones, written in seconds: for tests of what reads stores.

python tests/synthetic_store.py FOLDER [DATASETS MODELS SEEDS]     10, 20 and 10 if left out: 2,000 runs of 30 scores
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.fields import content_hash
from bench.core.plan import Planned
from bench.core.store import Store

CHAINS = (
    {"sampler": "ula", "beta": 1.0, "step_size": 1e-2, "lengths": [10, 100], "decay_factor": 1.0},
    {"sampler": "ula", "beta": 100.0, "step_size": 1e-4, "lengths": [10, 100], "decay_factor": 0.1},
)
STEPS = {"steps_done": 100, "steps_asked": 100}
STAGE = {"roots": [], "code": {}, "versions": {}}
TRAINED = {"phase": "training", "seconds": 60.0, "device": "cpu", "stage": STAGE, "facts": {}, "files": {}, **STEPS}
"""What `training.json` holds besides its checkpoint."""
KEY = "1,000 generated vs 1,197 real ({}), {} cccccccc"
METRICS = ("fd", "is", "kid", "precision", "recall", "classes")


def make(
    root: Path, datasets: int = 10, models: int = 20, seeds: int = 10, suite: str = "synthetic", shift: float = 0.0
) -> Store:
    """Every model on every dataset with every seed; a score is a model's level, a seed's, and noise, plus `shift`."""
    store = Store(root).create()
    planned = []
    for d in range(datasets):
        for m in range(models):
            for seed in range(seeds):
                spec = run_spec(f"data{d}", f"model{m:02}")
                write_run(store.root, spec, seed, np.random.default_rng([d, m, seed]), m / 10 + np.sin(seed) + shift)
                listed = {"dataset": spec["dataset"], "source": spec["dataset"], "model": spec["model"], "seed": seed}
                run = {"run": run_id(spec, seed), "identity": content_hash(spec), "readouts": readouts_of(spec)}
                planned.append(listed | run)
    head = {"schema_version": 2, "suite": suite, "profile": "quick", "kind": "images"}
    write(store.root / "suites" / f"{suite}-quick.json", head | {"runs": planned})
    return store


def make_planned(planned: Iterable[Planned], store: Store) -> None:
    """Runs as a plan wants them, done: stages and identities are right, and no readout has any rows."""
    for each in planned:
        task = each.task
        folder, spec = store.folder(task.spec), task.spec.model_dump(mode="json")
        (folder / "evals").mkdir(parents=True, exist_ok=True)
        files = {"spec.json": write(folder / "spec.json", spec)}
        files["checkpoint.safetensors"] = checkpoint = keep(folder / "checkpoint.safetensors", spec_bytes(spec))
        about = {**TRAINED, "stage": task.training.to_json(), "checkpoint": checkpoint}
        sealed = {"checkpoint.safetensors": checkpoint}
        files["training.json"] = write(folder / "training.json", about | {"files": sealed})
        for readout, code in zip(task.readouts, task.reading, strict=True):
            identity = readout.identity(checkpoint)
            value = {"identity": identity, "readout": readout.model_dump(mode="json"), "stage": code.to_json()}
            value |= {"rows": [], "files": {}, "seconds": {"sampling": 2.5, "scoring": 1.0}}
            value |= dict.fromkeys(("sampler", "beta", "step_size"))
            files[f"evals/{identity}.json"] = write(folder / f"evals/{identity}.json", value)
        status = {"state": "done", "reason": "", "stage": about["stage"], "device": "cpu", **STEPS, "files": files}
        write(folder / "status.json", status | {"seconds": {"training": 60.0, "sampling": 5.0, "scoring": 2.0}})


def spec_bytes(spec: dict[str, Any]) -> bytes:
    """4 KB that differ from run to run."""
    return hashlib.sha256(repr(spec).encode()).digest() * 128


def run_spec(dataset: str, model: str) -> dict[str, Any]:
    """A plausible run, without its seed."""
    return {
        "schema_version": 2,
        "kind": "images",
        "dataset": dataset,
        "dataset_digest": hashlib.sha256(dataset.encode()).hexdigest(),
        "model": model,
        "base_seed": 0,
        "threads": 1,
        "config": {
            "objective": "kale",
            "has_energy": True,
            "network": {"family": "mlp", "latent": 16, "generator_widths": [128], "discriminator_widths": [128]},
            "training": {"base_steps": 100, "batch_size": 64},
            "refit": None,
        },
    }


def run_id(spec: dict[str, Any], seed: int) -> str:
    """Where a run is."""
    return f"{spec['dataset']}/{spec['model']}/{content_hash(spec)[:12]}-s{seed}"


def readouts_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The base, and a chain at each temperature."""
    common = {"extractor": f"{spec['dataset']}-cnn", "reference": "train", "samples": 1000}
    return [common | {"kind": "base", "chain": None}, *(common | {"kind": "chain", "chain": chain} for chain in CHAINS)]


def write_run(root: Path, spec: dict[str, Any], seed: int, rng: np.random.Generator, level: float) -> None:
    """All files of a finished run."""
    folder = root / "runs" / run_id(spec, seed)
    (folder / "evals").mkdir(parents=True, exist_ok=True)
    checkpoint = hashlib.sha256(run_id(spec, seed).encode()).hexdigest()
    facts = {
        "parameters": {"generator": 41_233, "discriminator": 28_417},
        "flops": {"generator": 1_240_000, "discriminator": 933_000},
        "architecture": {"generator": "a" * 64, "discriminator": "b" * 64},
        "initial_weights": {"generator": f"{seed:064}", "discriminator": f"{seed:064}"},
    }
    environment = {"versions": {"torch": "2.9.0", "numpy": "2.2.0"}, "device": "CPU", "threads": 1}
    files = {
        "spec.json": write(folder / "spec.json", spec | {"seed": seed}),
        "env.json": write(folder / "env.json", environment),
        "checkpoint.safetensors": keep(folder / "checkpoint.safetensors", rng.bytes(4096)),
        "curve.jsonl": keep(folder / "curve.jsonl", curve(rng)),
    }
    training = TRAINED | {"checkpoint": checkpoint, "facts": facts}
    training |= {"capabilities": ["Samples", "LatentChains"], "peak_memory": {"resident": 1_000_000}}
    sealed = {name: files[name] for name in ("checkpoint.safetensors", "curve.jsonl")}
    files["training.json"] = write(folder / "training.json", training | {"files": sealed})
    for readout in readouts_of(spec):
        identity = content_hash({"checkpoint": checkpoint} | readout)[:16]
        value, pictures = result(spec, readout, rng, level, folder, identity)
        files |= pictures
        files[f"evals/{identity}.json"] = write(folder / "evals" / f"{identity}.json", value)
    status = {
        "state": "done",
        "reason": "",
        "identity": content_hash(spec),
        "seed": seed,
        "device": "cpu",
        "stage": STAGE,
        **STEPS,
    }
    status |= {"seconds": {"training": 60.0, "sampling": 5.0, "scoring": 2.0}, "files": files}
    write(folder / "status.json", status)


def result(
    spec: dict[str, Any], readout: dict[str, Any], rng: np.random.Generator, level: float, folder: Path, identity: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """One evaluation, and the hashes of its pictures."""
    chain = readout["chain"]
    extractor = readout["extractor"]
    key = KEY.format(f"{spec['dataset']}/train {spec['dataset_digest'][:8]}", extractor)
    rows, pictures = [], {}
    for steps in chain["lengths"] if chain else (0,):
        scores = {f"{name}[{extractor}]": level + 5 + i + 0.1 * rng.normal() for i, name in enumerate(METRICS)}
        costs = {"steps": steps, "gradient_evaluations": steps, "forward_evaluations": 0}
        distance = scores[f"fd[{extractor}]"]
        curve = [[500, distance + 0.2], [1000, distance]]
        rows.append(costs | {"scores": scores, "frechet_curve": curve, "key": key, "collapsed": ""})
        buffer = io.BytesIO()
        np.save(buffer, rng.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8))
        name = f"evals/{identity}-{steps:06}.npy"
        pictures[name] = keep(folder / name, buffer.getvalue())
    head = {name: chain[name] if chain else None for name in ("beta", "step_size")}
    head |= {"sampler": chain["sampler"] if chain else "base", "rows": rows, "files": pictures}
    about = {"identity": identity, "readout": readout, "stage": STAGE}
    return head | about | {"seconds": {"sampling": 2.5, "scoring": 1.0}}, pictures


def curve(rng: np.random.Generator) -> bytes:
    """A training curve of 160 points."""
    losses = rng.normal(size=(160, 2))
    lines = [
        {"phase": "training", "step": 50 * i, "energy_loss": e, "base_loss": b}
        for i, (e, b) in enumerate(losses.tolist())
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def write(path: Path, value: dict[str, Any]) -> str:
    """A sealed JSON file, without the sync of a real store; its hash."""
    sealed = value | {"sha256": content_hash(value)}
    return keep(path, (json.dumps(sealed, indent=1, sort_keys=True) + "\n").encode())


def change(path: Path, **changes: Any) -> str:
    """Change a sealed file as the harness would; None takes a key away. Returns the hash of the file."""
    gone = {"sha256", *(key for key, each in changes.items() if each is None)}
    return write(path, {key: each for key, each in (json.loads(path.read_text()) | changes).items() if key not in gone})


def change_listed(folder: Path, name: str, **changes: Any) -> None:
    """Change a file of a run and its hash in the status."""
    files = json.loads((folder / "status.json").read_text())["files"]
    change(folder / "status.json", files=files | {name: change(folder / name, **changes)})


def keep(path: Path, content: bytes) -> str:
    """A file; its hash."""
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
