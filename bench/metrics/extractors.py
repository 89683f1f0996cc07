"""Feature extractors: images to embeddings and class logits, named and identified by the content of their weights.

Inception where its weights are at hand, else the classifier of `bench.metrics.classifier`, both usable from
`torch_fidelity.calculate_metrics` by name. What is made of the features is the business of `bench.metrics.scores`.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch_fidelity import register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from bench.core.files import CorruptFileError, sha256_file
from bench.data import Dataset
from bench.data.images import PixelCodec
from bench.metrics import INCEPTION, INCEPTION_FILES, INCEPTION_SHA256, classifier
from bench.metrics.sealed import content_digest, read_or_compute

__all__ = ["Extractor", "Features", "inception", "load_extractor", "load_or_train", "train_classifier"]


@dataclass(frozen=True, eq=False)
class Features:
    """What an extractor sees in N images.

    Attributes:
        embedding: (N, D) float32, for distances between sets of images.
        logits: (N, K) float32, unnormalised log-probabilities of the K classes.
    """

    embedding: Float[Tensor, "n d"]
    logits: Float[Tensor, "n k"]

    def __post_init__(self) -> None:
        if self.embedding.ndim != 2 or self.logits.ndim != 2 or len(self.embedding) != len(self.logits):
            raise ValueError(
                "features are an (N, D) embedding and (N, K) logits of the same images, got "
                f"{tuple(self.embedding.shape)} and {tuple(self.logits.shape)}"
            )

    def __len__(self) -> int:
        return len(self.embedding)


@dataclass(frozen=True, eq=False)
class Extractor:
    """A feature extractor that can be named in a table and recognised by its content.

    Attributes:
        name: as registered with torch-fidelity, and as scores are named after it.
        digest: sha256 of its weights.
        resizer: how it brings images to its own size ("none" if it takes them as they are).
        dtype: precision it computes in.
        module: returns (embedding, logits) of a uint8 batch.
        weights: the file that torch-fidelity would load it from, if there is one.
        batch_size: fixed, since sums may depend on it in the last bits.
        accuracy: share of held-out images that it classifies right, if that was asked.
    """

    name: str
    digest: str
    resizer: str
    dtype: str
    module: FeatureExtractorBase
    weights: Path | None = None
    batch_size: int = 128
    accuracy: float | None = None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        parameter: Tensor = next(self.module.parameters())
        return parameter.device

    def to(self, device: torch.device) -> Extractor:
        """The same, computing on a device; its module is moved, not copied."""
        self.module.to(device)
        return self

    @torch.no_grad()
    def features(self, images: UInt8[Tensor, "n c h w"]) -> Features:
        """Features of uint8 images 0…255, on the CPU. Greyscale is repeated to three channels for Inception.

        Raises:
            ValueError: if the images are not uint8 (N, C, H, W) with N ≥ 1, or not of the kind the extractor knows.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or len(images) == 0:
            raise ValueError(f"images must be uint8 (N, C, H, W), N >= 1, got {images.dtype} {tuple(images.shape)}")
        if self.name == INCEPTION and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        with _full_precision(self.device):
            batches = [self.module(batch.to(self.device)) for batch in torch.split(images, self.batch_size)]
        embedding, logits = (torch.cat(parts).float().cpu() for parts in zip(*batches, strict=True))
        return Features(embedding, logits)


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Convolutions in true float32: on a GPU cuDNN would otherwise round to TF32, and pick algorithms by timing."""
    if device.type != "cuda":
        return nullcontext()
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
    return flags


def train_classifier(
    images: UInt8[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    seed: int,
    name: str = "cnn",
    steps: int | None = None,
) -> Extractor:
    """The in-domain classifier as an extractor, trained now and kept in memory only.

    Bit-deterministic for given images, labels and seed on one kind of CPU; the caller's random streams are left alone.

    Arguments:
        images: training images; the extractor takes images of this shape only.
        labels: classes 0…K−1.
        seed: of the initial weights, the order of the data and its augmentation.
        name: what scores are named after.
        steps: of training, `bench.metrics.classifier.default_steps` if None.

    Raises:
        ValueError: if images and labels do not fit each other or there is nothing to learn.
    """
    return _extractor(name, classifier.fit(name, images, labels, seed, steps))


def load_or_train(
    cache_dir: Path,
    dataset_name: str,
    dataset_digest: str,
    images: UInt8[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    seed: int,
    held_out: tuple[UInt8[Tensor, "m c h w"], Int[Tensor, " m"]] | None = None,
) -> Extractor:
    """The extractor "`dataset_name`-cnn", from `cache_dir` if it was trained on this very content before.

    The file's name holds the hash of images, labels, seed, dataset digest and the version of the training code. The
    extractor is registered with torch-fidelity, for which its `weights` are the `feature_extractor_weights_path`. Its accuracy is
    that on the images and labels `held_out`, and stored with it.

    Raises:
        ValueError: as `train_classifier`, or if the name belongs to another extractor.
        OSError: if the folder cannot be written.
    """
    name = f"{dataset_name}-cnn"
    _register(name)
    context = f"{classifier.VERSION} seed={seed} dataset={dataset_digest}"
    path = cache_dir / f"{name}-{content_digest({'images': images, 'labels': labels}, context)[:32]}.sealed"

    def train() -> dict[str, Tensor]:
        model = classifier.fit(name, images, labels, seed)
        if held_out is not None:
            model.measure(*held_out)
        return dict(model.state_dict())

    weights = read_or_compute(path, train)
    channels, height, width, classes = weights["shape"].tolist()
    module = classifier.Classifier(name, ["embedding", "logits"], shape=(channels, height, width, classes))
    module.load_state_dict(weights)
    return _extractor(name, module.eval().requires_grad_(False), path)


def _extractor(name: str, module: classifier.Classifier, weights: Path | None = None) -> Extractor:
    digest = content_digest(module.state_dict(), classifier.VERSION)
    accuracy = float(module.accuracy)
    known = None if math.isnan(accuracy) else accuracy
    return Extractor(name, digest, resizer="none", dtype="float32", module=module, weights=weights, accuracy=known)


def _register(name: str) -> None:
    known = FEATURE_EXTRACTORS_REGISTRY.get(name)
    if known is None:
        register_feature_extractor(name, classifier.Classifier)
    elif known is not classifier.Classifier:
        raise ValueError(f"torch-fidelity already has an extractor '{name}'; give the dataset another name")


def inception(directory: Path, device: str = "cpu") -> Extractor | None:
    """torch-fidelity's Inception with the weights in `directory`, or None if they are not there; nothing is downloaded.

    The logits are the unbiased ones, which the Inception Score is defined on.

    Raises:
        CorruptFileError: if the file is not the published one. It is a pickle, so no other content is ever opened.
    """
    path = next((directory / name for name in INCEPTION_FILES if (directory / name).is_file()), None)
    if path is None:
        return None
    digest = sha256_file(path)
    if digest != INCEPTION_SHA256:
        raise CorruptFileError(
            f"{path} is not the published Inception: sha256 {digest[:16]}…, not {INCEPTION_SHA256[:16]}…"
        )
    create = FEATURE_EXTRACTORS_REGISTRY[INCEPTION]
    module = create(INCEPTION, ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)).to(device)
    return Extractor(INCEPTION, digest, "bilinear-tensorflow1-299", "float32", module, path, batch_size=64)


def load_extractor(name: str, dataset: Dataset, cache: Path, weights: Path | None) -> Extractor:
    """The extractor of that name: Inception from the folder of weights, or the dataset's own classifier.

    Raises:
        FileNotFoundError: if Inception's weights are not there.
    """
    if name == INCEPTION:
        found = inception(weights) if weights else None
        if found is None:
            raise FileNotFoundError(f"the weights of {INCEPTION} are no longer in {weights}")
        return found
    codec = PixelCodec(dataset.levels)
    images, held_out = (codec.to_bytes(torch.from_numpy(dataset.splits[split])) for split in ("train", "test"))
    labels, known = (torch.from_numpy(dataset.labels[split]) for split in ("train", "test"))
    return load_or_train(cache, dataset.name, dataset.digest, images, labels, seed=0, held_out=(held_out, known))
