"""A trained model as a folder laid out as the Hugging Face Hub has it: weights, configuration, and a card with scores and limits.

    FOLDER/model.safetensors    the run's checkpoint, byte for byte
           config.json          what `bench.load_model` needs, sealed with its own hash
           README.md            the card: metadata as YAML, how to load it, scores with their keys, data, settings, limits
           samples.png          images that the run kept, at β̂ where there are some

Nothing is sent anywhere; a folder that is whole has its `config.json`, which is written last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import __version__
from bench.components import registry
from bench.core.run_folder import RunFolder
from bench.files import make_folder, read_array, sha256_file, write_output
from bench.markdown import escape, table
from bench.metrics import base_name
from bench.report.one_run import readout_words, score_tables
from bench.report.text import metric_order
from bench.results.models import CONFIG, WEIGHTS, Trained, caveats, check_no_code
from bench.results.one_run import OneRun
from bench.results.sheets import png_of, sheet
from bench.results.weights import WeightsError

__all__ = ["CARD", "PICTURE", "publish"]

CARD, PICTURE = "README.md", "samples.png"

LOAD = """import bench

model = bench.load_model("."){what}
"""
CHAIN = """
import torch
from gebm.samplers import ULA, chain

frozen, generator = model.for_sampling(), torch.Generator().manual_seed(0)
z = frozen.base.prior.sample(64, generator)
for _, state, _ in chain(ULA({step}), frozen.potential({beta}), z, [100], generator):
    x = frozen.base(state.position.z)
"""
LIMITS = (
    "This is one run of one seed: how much seeds differ, and what compares with what, is in a report over several.",
    "Scores compare only where their keys are the same.",
)
ENERGY_LIMITS = (
    "Samples at β ≠ 1 are of a sharper or flatter density than the trained one. β̂ is the β of the highest likelihood on held-out data.",
    "A chain whose column does not say *at its target* has not been shown to sample the density that it is aimed at.",
)


def publish(run: OneRun, out: Path) -> list[Path]:
    """Write a run's trained model into a folder; return the files, the configuration last.

    Raises:
        WeightsError: if the run has no trained model, that is damaged, or its generator is a function of the user's own.
        OSError: if the folder cannot be written.
    """
    trained, weights = Trained.of(run), run.folder / "checkpoint.safetensors"
    check_no_code(trained)
    content = weights.read_bytes()
    make_folder(out)
    (out / CONFIG).unlink(missing_ok=True)
    write_output(out / WEIGHTS, content)
    if sha256_file(out / WEIGHTS) != trained.weights:
        raise WeightsError(f"{weights} is corrupt: its hash is another")
    written = [out / WEIGHTS]
    pictures = [row for row in run.rows if row.pictures is not None and row.sampler != "training"]
    caption = ""
    if pictures:
        shown = ([row for row in pictures if row.calibrated] or pictures)[-1]
        images = read_array(str(shown.pictures))
        write_output(out / PICTURE, png_of(sheet(images)))
        written.append(out / PICTURE)
        caption = readout_words(shown)
    write_output(out / CARD, card(run, trained, caption).encode())
    about = {"run": run.spec.run_id, "identity": run.spec.identity, "gebm_bench": __version__, "weights": WEIGHTS}
    RunFolder(out).write_json(CONFIG, about | {"model": trained.to_json()})
    return [*written, out / CARD, out / CONFIG]


def card(run: OneRun, trained: Trained, caption: str) -> str:
    """Return the model card; `caption` says what the picture beside it shows, '' where there is none."""
    spec, data = run.spec, trained.data or {}
    known = registry.entries("models").get(spec.model)
    with_energy = "latent-chains" in trained.capabilities
    what = "  # a gebm.GEBM" if with_energy else "  # model.sample(n, torch.Generator())"
    step = next((chain["step_size"] for chain in trained.chains if chain["sampler"] == "ula"), None) or 0.01
    code = LOAD.format(what=what)
    code += (
        CHAIN.format(step=step, beta=1.0 if trained.temperature is None else round(trained.temperature, 4))
        * with_energy
    )
    parts = [
        metadata(run),
        f"# {spec.model} on {spec.dataset}",
        f"{escape(known.summary) if known else spec.model}. Trained by GEBM Bench {__version__}; run `{spec.run_id}`, seed {spec.seed}.",
        *(f"> **Mind:** this run {escape(each)}." for each in caveats(trained)),
        *([f"![samples]({PICTURE})", f"Samples: {escape(caption)}."] if caption else []),
        "## Use it",
        f"With GEBM Bench {__version__} installed, in this folder:",
        f"```python\n{code}```",
        "or `bench sample . --out samples.npz`. The data are not needed.",
        "## Scores",
        *_scores(run),
        "## Training data",
        _data(run, data),
        "## Training",
        f"```json\n{json.dumps(spec.config)}\n```",
        "## Limits",
        "\n".join(f"- {each}" for each in (*LIMITS, *(ENERGY_LIMITS if with_energy else ()))),
    ]
    return "\n\n".join(parts) + "\n"


def metadata(run: OneRun) -> str:
    """Return the card's metadata: YAML whose values are JSON, which YAML includes; of every readout's end the headline score."""
    spec = run.spec
    task = "unconditional-image-generation" if spec.kind == "images" else "density-estimation"
    last = {(row.sampler, row.beta, row.step_size): row for row in run.rows if row.scores}
    metrics = []
    for row in last.values():
        metric = min(row.scores, key=metric_order)
        about = {"type": base_name(metric), "name": f"{metric}, {readout_words(row)}", "value": row.scores[metric]}
        metrics.append(about | {"args": {"key": row.key}})
    dataset = {"type": spec.dataset, "name": spec.dataset, "args": {"sha256": spec.dataset_digest}}
    index = {"name": spec.run_id, "results": [{"task": {"type": task}, "dataset": dataset, "metrics": metrics}]}
    values: dict[str, Any] = {"library_name": "gebm-bench", "tags": ["gebm", "energy-based-model", spec.model]}
    values |= {"pipeline_tag": task} if spec.kind == "images" else {}
    values |= {"model-index": [index]} if metrics else {}
    lines = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return "\n".join(("---", *lines, "---"))


def _scores(run: OneRun) -> list[str]:
    """Return a table for every key, with the remarks on it."""
    parts = []
    for found in score_tables(run):
        cells = [[escape(cell) for cell in row] for row in found.rows]
        parts += [f"Key: {escape(found.key)}", table(found.header, cells, range(2, len(found.header)))]
        parts += [f"- {escape(remark)}" for remark in found.remarks]
    return parts or ["None was read out."]


def _data(run: OneRun, data: Mapping[str, Any]) -> str:
    words = "; ".join(filter(None, (data.get("protocol"), data.get("provenance"))))
    return f"{run.spec.dataset}, sha256 of its content `{run.spec.dataset_digest}`. {escape(words)}".rstrip()
