"""A store of made-up runs, as sound as real ones, written in seconds: for tests of what reads stores.

python tests/synthetic_store.py FOLDER [DATASETS MODELS SEEDS]     10, 20 and 10 if left out: 2,000 runs of 30 scores
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.spec import ChainSpec, ImageReadout, MLPNetwork, RunSpec, Training, content_hash
from bench.core.store import Store, fingerprint

CHAINS = (
    ChainSpec(sampler="ula", beta=1, step_size=1e-2, lengths=(10, 100)),
    ChainSpec(sampler="ula", beta=100, step_size=1e-4, lengths=(10, 100), decay_factor=0.1),
)
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
                spec = run_spec(f"data{d}", f"model{m:02}", seed)
                write_run(store, spec, np.random.default_rng([d, m, seed]), m / 10 + np.sin(seed) + shift)
                listed = {key: getattr(spec, key) for key in ("dataset", "model", "seed", "identity")}
                readouts = [readout.model_dump(mode="json") for readout in readouts_of(spec)]
                planned.append(listed | {"run": spec.run_id, "readouts": readouts})
    write(store.root / "suites" / f"{suite}-quick.json", {"suite": suite, "profile": "quick", "runs": planned})
    return store


def run_spec(dataset: str, model: str, seed: int) -> RunSpec:
    """A plausible run."""
    return RunSpec(
        dataset=dataset,
        dataset_digest=hashlib.sha256(dataset.encode()).hexdigest(),
        model=model,
        settings={"objective": "gebm.objectives:Kale", "has_energy": True},
        base_seed=0,
        network=MLPNetwork(family="mlp", latent=16, generator_widths=(128,), discriminator_widths=(128,)),
        training=Training(base_steps=100),
        refit=None,
        threads=1,
        seed=seed,
    )


def readouts_of(spec: RunSpec) -> list[ImageReadout]:
    """The base, and a chain at each temperature."""
    common: dict[str, Any] = {"extractor": f"{spec.dataset}-cnn", "reference": "train", "samples": 1000}
    return [
        ImageReadout(kind="base", **common),
        *(ImageReadout(kind="chain", chain=chain, **common) for chain in CHAINS),
    ]


def write_run(store: Store, spec: RunSpec, rng: np.random.Generator, level: float) -> None:
    """All files of a finished run."""
    folder = store.folder(spec).path
    (folder / "evals").mkdir(parents=True, exist_ok=True)
    checkpoint = hashlib.sha256(spec.run_id.encode()).hexdigest()
    facts = {
        "parameters": {"generator": 41_233, "discriminator": 28_417},
        "flops": {"generator": 1_240_000, "discriminator": 933_000},
        "architecture": {"generator": "a" * 64, "discriminator": "b" * 64},
        "initial_weights": {"generator": f"{spec.seed:064}", "discriminator": f"{spec.seed:064}"},
    }
    files = {
        "spec.json": write(folder / "spec.json", spec.model_dump(mode="json")),
        "env.json": write(
            folder / "env.json", {"versions": {"torch": "2.9.0", "numpy": "2.2.0"}, "device": "CPU", "threads": 1}
        ),
        "checkpoint.safetensors": keep(folder / "checkpoint.safetensors", rng.bytes(4096)),
        "curve.jsonl": keep(folder / "curve.jsonl", curve(rng)),
    }
    training = {
        "fingerprint": fingerprint(),
        "device": "cpu",
        "checkpoint": checkpoint,
        "facts": facts,
        "seconds": 60.0,
    }
    sealed = {name: files[name] for name in ("checkpoint.safetensors", "curve.jsonl")}
    files["training.json"] = write(folder / "training.json", training | {"files": sealed})
    for readout in readouts_of(spec):
        identity = readout.identity(checkpoint)
        value, pictures = result(spec, readout, rng, level, folder, identity)
        files |= pictures
        files[f"evals/{identity}.json"] = write(folder / "evals" / f"{identity}.json", value)
    status = {"state": "done", "reason": "", "identity": spec.identity, "seed": spec.seed, "fingerprint": fingerprint()}
    status |= {"device": "cpu", "seconds": {"training": 60.0, "sampling": 5.0, "scoring": 2.0}, "files": files}
    write(folder / "status.json", status)


def result(
    spec: RunSpec, readout: ImageReadout, rng: np.random.Generator, level: float, folder: Path, identity: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """One evaluation, and the hashes of its pictures."""
    chain = readout.chain
    key = (
        f"1,000 generated vs 1,197 real ({spec.dataset}/train {spec.dataset_digest[:8]}), {readout.extractor} cccccccc"
    )
    rows, pictures = [], {}
    for steps in chain.lengths if chain else (0,):
        scores = {f"{name}[{readout.extractor}]": level + 5 + i + 0.1 * rng.normal() for i, name in enumerate(METRICS)}
        costs = {"steps": steps, "gradient_evaluations": steps, "forward_evaluations": 0}
        curve = [[500, scores[f"fd[{readout.extractor}]"] + 0.2], [1000, scores[f"fd[{readout.extractor}]"]]]
        rows.append(costs | {"scores": scores, "frechet_curve": curve, "key": key, "collapsed": ""})
        buffer = io.BytesIO()
        np.save(buffer, rng.integers(0, 256, (64, 1, 8, 8), dtype=np.uint8))
        name = f"evals/{identity}-{steps:06}.npy"
        pictures[name] = keep(folder / name, buffer.getvalue())
    head = {"sampler": chain.sampler, "beta": chain.beta, "step_size": chain.step_size} if chain else {}
    value = {"sampler": "base", "beta": None, "step_size": None} | head | {"rows": rows, "files": pictures}
    about = {"identity": identity, "readout": readout.model_dump(mode="json"), "fingerprint": fingerprint()}
    return value | about | {"seconds": {"sampling": 2.5, "scoring": 1.0}}, pictures


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


def keep(path: Path, content: bytes) -> str:
    """A file; its hash."""
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
