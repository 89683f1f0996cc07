"""The images that runs kept for the eye: of which seed, along which chains, read from their files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.report.chapters import Chapter
from bench.report.text import readout_name
from bench.results.facts import DATA, RunFacts, SampleFile

__all__ = ["chains_of", "first_seed", "load_images", "title_of"]


def first_seed(chapter: Chapter) -> list[tuple[str, RunFacts]]:
    """The runs of the first seed that has pictures, with their labels."""
    labels = chapter.labels
    runs = [(labels.get(facts.run, DATA), facts) for facts in chapter.facts if facts.samples]
    seed = min((facts.seed for _, facts in runs), default=0)
    return [(label, facts) for label, facts in runs if facts.seed == seed]


def chains_of(samples: Sequence[SampleFile]) -> list[list[SampleFile]]:
    """The files of each latent chain by rising length; chains by β, sampler and step size."""
    chains: dict[tuple[float, str, float], list[SampleFile]] = {}
    for file in samples:
        if file.sampler not in ("base", DATA):
            chains.setdefault((_beta(file) or 0.0, file.sampler, file.step_size or 0.0), []).append(file)
    return [sorted(chains[chain], key=lambda file: file.steps) for chain in sorted(chains)]


def title_of(label: str, file: SampleFile, samples: Sequence[SampleFile], *, full: bool = False) -> str:
    """Whose images these are, and from what; with the step size where another chain of these samples differs in nothing else."""
    name = readout_name(file.sampler, _beta(file), full=full)
    if file.sampler == DATA:
        return name
    sizes = {other.step_size for other in samples if (other.sampler, _beta(other)) == (file.sampler, _beta(file))}
    return f"{label}: {name}" + (f", step {file.step_size:g}" if len(sizes) > 1 and file.step_size else "")


def load_images(file: SampleFile) -> NDArray[np.uint8] | None:
    """The images, or None where the file is absent, damaged or of another shape: a picture is no reason to fail."""
    try:
        images = np.load(file.path, allow_pickle=False)
        images = images[file.position] if images.ndim == 5 else images
    except (OSError, ValueError, EOFError, IndexError):
        return None
    return images if images.dtype == np.uint8 and images.ndim == 4 and images.shape[1] in {1, 3} else None


def _beta(file: SampleFile) -> float | None:
    return None if file.beta is None or math.isnan(file.beta) else float(file.beta)
