"""What faults are tried on: both suites with the quick profiles' code and tiny settings, and everything that a run found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image
from safetensors.torch import load_file

from bench.core.plan import Selection, make_plan
from bench.core.store import Store
from bench.core.suite import load_suite
from bench.core.task import Places, Task
from bench.data import load_dataset

__all__ = ["SUITES", "cache_for", "numbers", "tasks", "write_data", "write_suite"]

IMAGES = """
name = "images-tiny"
summary = "the images suite, too small to mean anything"

[profiles.quick]
datasets = ["digits"]
models = ["gebm", "gan-ns", "gan-ns+refit", "data"]
seeds = [0, 1]
minutes_per_run = 0.02

[profiles.quick.network]
family = "mlp"
latent = 4
generator_widths = [16]
discriminator_widths = [16]

[profiles.quick.training]
base_steps = {steps}
batch_size = 16
ema = 0.9
penalty_every = 4

[profiles.quick.refit]
steps = {less}
batch_size = 16
check_every = 4
partition_samples = 64

[profiles.quick.post_hoc]
steps = {less}
batch_size = 16
check_every = 4
partition_samples = 64
calibrated = true

[profiles.quick.evaluation]
samples = 100
partition_samples = 200
metrics = ["fid"]
extractor = "in-domain"
exact = ["calibrated"]
pool = 2000

[[profiles.quick.evaluation.chains]]
sampler = "ula"
beta = 1
step_size = 1e-2
lengths = [2, 4]
"""
DENSITY = """
name = "density-tiny"
summary = "the density suite, too small to mean anything"
kind = "density"

[profiles.quick]
datasets = ["known-density-8"]
models = ["flow-realnvp", "gebm-frozen-kale", "gebm-flow-kale"]
seeds = [0, 1]
minutes_per_run = 0.02
energy = {{ widths = [16], bound = 10 }}
likelihood = {{ steps = {steps}, check_every = 4 }}
training = {{ base_steps = {less}, batch_size = 32, penalty_every = 4 }}
selection = {{ check_every = 4 }}
evaluation = {{ partition_samples = 4000, shown_samples = 200 }}

[profiles.quick.flows]
realnvp = {{ family = "realnvp", layers = 2, hidden = 8 }}

[profiles.quick.refit]
steps = {less}
batch_size = 64
check_every = 4
partition_samples = 512
"""
SUITES = {"images": IMAGES, "density": DENSITY}


def write_suite(name: str, folder: Path, steps: int) -> Path:
    """Write a suite whose trainings take so many steps, and the phases after them half as many."""
    path = folder / f"{name}-tiny.toml"
    path.write_text(SUITES[name].format(steps=steps, less=steps // 2))
    return path


def write_data(suite: str, folder: Path, content: int) -> str:
    """Write a dataset of a user's own, of one content or another, where another one may be; return its source."""
    if suite == "density":
        rng = np.random.default_rng(content)
        np.save(folder / "rows.npy", rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 8)))
        return f"npy:{folder / 'rows.npy'}"
    digits = load_dataset("digits", None)
    for split, images in digits.splits.items():
        for at, (image, label) in enumerate(zip(images, digits.labels[split], strict=True)):
            path = folder / "drawn" / split / str(label) / f"{at}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.rot90(image[0] * 15, content).astype(np.uint8)).save(path)
    return f"folder:{folder / 'drawn'}"


def tasks(suite: Path, store: Path, models: Sequence[str], seeds: Sequence[int] = (0,)) -> list[Task]:
    """The tasks of a suite, to be done in this process on its CPU."""
    plan = make_plan(load_suite(str(suite)), Selection(models=models, seeds=seeds), Places(store, device="cpu"))
    return [planned.task for planned in plan]


def cache_for(folder: Path, source: str = "digits") -> Path:
    """A store's cache with an extractor of a dataset of images that was trained in few steps."""
    from bench.metrics import classifier
    from bench.metrics.extractors import load_extractor

    with mock.patch.object(classifier, "default_steps", return_value=200):
        load_extractor("in-domain", load_dataset(source, None), folder, None)
    return folder


def numbers(store: Store, run: str) -> dict[str, Any]:
    """Everything that a run found and that is not a duration."""
    folder = store.root / "runs" / run
    found: dict[str, Any] = {"curve": (folder / "curve.jsonl").read_text()}
    found |= {name: (t.shape, t.numpy().tobytes()) for name, t in load_file(folder / "checkpoint.safetensors").items()}
    for path in sorted((folder / "evals").iterdir()):
        if path.suffix == ".npy":
            found[path.name] = path.read_bytes()
        elif path.suffix == ".json":  # a crash may leave a part under a name of its own
            result = json.loads(path.read_text())
            found[path.name] = {key: value for key, value in result.items() if key not in ("seconds", "sha256")}
    return found
