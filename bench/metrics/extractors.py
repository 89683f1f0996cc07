"""Feature extractors: images to embeddings and class logits, identified by the content of their weights.

An extractor is a component: a function of a dataset, a folder for what it trains and the folder of published weights (or None) that
returns an `Extractor`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch_fidelity
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch_fidelity import FeatureExtractorInceptionV3

from bench.components.digests import stage
from bench.data import Dataset
from bench.data.images import PixelCodec
from bench.files import CorruptFileError, sha256_file
from bench.inception import INCEPTION, INCEPTION_FILES, INCEPTION_SHA256
from bench.metrics import classifier, extractor_entry
from bench.metrics.cache import content_digest, read_or_compute
from gebm.components import component

__all__ = ["Extractor", "Features", "inception_weights", "load_extractor", "train_classifier"]


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor sees in N images: float32 embeddings, and unnormalised log-probabilities of K classes."""

    embedding: Float[Tensor, "n d"]
    logits: Float[Tensor, "n k"]

    def __post_init__(self) -> None:
        if self.embedding.ndim != 2 or self.logits.ndim != 2 or len(self.embedding) != len(self.logits):
            shapes = f"{tuple(self.embedding.shape)} and {tuple(self.logits.shape)}"
            raise ValueError(f"features are an (N, D) embedding and (N, K) logits of the same images, got {shapes}")

    def __len__(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True, eq=False)
class Extractor:
    """A feature extractor that can be named in a table and recognised by its content."""

    name: str
    digest: str  # sha256 of its weights, see `content_digest`
    module: nn.Module  # returns (embedding, logits) of a uint8 batch
    resizer: str = "none"  # how it brings images to its own size, if it does
    dtype: str = "float32"  # the precision it computes in
    colour: bool = False  # whether greyscale images are to be repeated to three channels
    batch_size: int = 128  # fixed, since sums may depend on it in the last bits
    accuracy: float | None = None  # share of held-out images that it classifies right, where that is known
    library: str = ""  # name and version of the library that its module comes from, if it is not our own

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    def to(self, device: torch.device) -> Extractor:
        """Move its module, which is not copied, to a device."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def features(self, images: UInt8[Tensor, "n c h w"]) -> Features:
        """Return features of uint8 images 0…255, on the CPU.

        Raises:
            ValueError: if the images are not uint8 (N, C, H, W) with N ≥ 1, or not of the kind the extractor knows.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
            raise ValueError(f"images must be uint8 (N, C, H, W), N >= 1, got {images.dtype} {tuple(images.shape)}")
        if self.colour and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        # true float32 on a GPU too, where cuDNN would otherwise round to TF32 and pick algorithms by timing
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            batches = [self._batch(batch) for batch in torch.split(images, self.batch_size)]
        embedding, logits = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return Features(embedding, logits)

    def _batch(self, images: UInt8[Tensor, "n c h w"]) -> tuple[Tensor, Tensor]:
        """Return embedding and logits of one batch, of which nothing stays on the device."""
        embedding, logits = self.module(images.to(self.device))
        return embedding.float().cpu(), logits.float().cpu()


def load_extractor(name: str, dataset: Dataset, cache: Path, weights: Path | None) -> Extractor:
    """Return the extractor of that name for a dataset's images; `cache` holds trained weights, `weights` published ones.

    Raises:
        UnknownNameError: if there is none of this name.
    """
    made: Extractor = extractor_entry(name).load()(dataset, cache, weights)
    return made


@component("extractors", "in-domain", "a small classifier trained on the dataset's own labelled images")
def in_domain(dataset: Dataset, cache: Path, _weights: Path | None) -> Extractor:
    """Return the extractor "<dataset>-cnn", from the cache if the same code was trained on the same content before.

    Raises:
        ValueError: if there is nothing to learn.
        OSError: if the folder cannot be written.
    """
    return _in_domain(dataset, cache, f"{dataset.name}-cnn", 1)


@component(
    "extractors", "in-domain-half", "the in-domain classifier, trained on every other image; for reference 'half'"
)
def in_domain_half(dataset: Dataset, cache: Path, _weights: Path | None) -> Extractor:
    """Return the extractor "<dataset>-half-cnn", which has not seen the images of the reference "half"; raises what `in_domain` does."""
    return _in_domain(dataset, cache, f"{dataset.name}-half-cnn", 2)


def _in_domain(dataset: Dataset, cache: Path, name: str, every: int) -> Extractor:
    """Return the classifier trained on every k-th image, k = `every`."""

    def labelled(split: str, every: int = 1) -> dict[str, Tensor]:
        images = PixelCodec(dataset.levels).to_bytes(torch.from_numpy(dataset.splits[split][::every]))
        return {"images": images, "labels": torch.from_numpy(dataset.labels[split][::every])}

    shown = labelled("train", every)
    content = content_digest(shown, f"{stage(['bench.metrics.classifier:fit']).digest} seed=0 dataset={dataset.digest}")

    def train() -> Mapping[str, Tensor]:
        model = classifier.fit(shown["images"], shown["labels"], seed=0)
        model.measure(**labelled("test"))
        return model.state_dict()

    state = read_or_compute(cache / f"{name}-{content[:32]}.sealed", train)
    module = classifier.Classifier(*state["shape"].tolist())
    module.load_state_dict(state)
    return _extractor(name, module.eval().requires_grad_(False))


def train_classifier(
    images: UInt8[Tensor, "n c h w"], labels: Int[Tensor, " n"], seed: int, name: str = "cnn", steps: int | None = None
) -> Extractor:
    """Train the in-domain classifier now and keep it in memory only; see `bench.metrics.classifier.fit`."""
    return _extractor(name, classifier.fit(images, labels, seed, steps))


def _extractor(name: str, module: classifier.Classifier) -> Extractor:
    accuracy = float(module.accuracy)
    digest = content_digest(module.state_dict(), classifier.VERSION)
    return Extractor(name, digest, module, accuracy=None if math.isnan(accuracy) else accuracy)


@component("extractors", "inception-v3-compat", "Inception v3 with the published weights: the extractor of FID")
def inception(_dataset: Dataset, _cache: Path, weights: Path | None) -> Extractor:
    """Return torch-fidelity's Inception; its logits are the unbiased ones, which the Inception Score is defined on.

    Raises:
        FileNotFoundError: if the weights are not at hand; nothing is downloaded.
        CorruptFileError: as `inception_weights`.
    """
    path = inception_weights(weights) if weights else None
    if path is None:
        raise FileNotFoundError(f"the weights of {INCEPTION} are no longer in {weights}")
    features = ["2048", "logits_unbiased"]
    module = FeatureExtractorInceptionV3(INCEPTION, features, feature_extractor_weights_path=str(path))
    resizer, library = "bilinear-tensorflow1-299", f"torch-fidelity={torch_fidelity.__version__}"
    return Extractor(INCEPTION, INCEPTION_SHA256, module, resizer, colour=True, batch_size=64, library=library)


def inception_weights(directory: Path) -> Path | None:
    """Return the file of Inception's weights in a folder, or None if it is not there.

    Raises:
        CorruptFileError: if the file is not the published one. It is a pickle, so no other content is ever opened.
    """
    path = next((directory / name for name in INCEPTION_FILES if (directory / name).is_file()), None)
    if path is not None and (digest := sha256_file(path)) != INCEPTION_SHA256:
        found = f"sha256 {digest[:16]}…, not {INCEPTION_SHA256[:16]}…"
        raise CorruptFileError(f"{path} is not the published Inception: {found}")
    return path
