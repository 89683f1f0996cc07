"""The in-domain classifier: features of a dataset for which no Inception weights are needed.

Training is bit-deterministic on one kind of CPU: explicit generators, one thread, a fixed number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["EMBEDDING", "VERSION", "Classifier", "default_steps", "fit", "single_thread"]

VERSION = "classifier-3"
"""Changes whenever the network or its training does, so that no cached weights of other code are used."""

EMBEDDING = 64
_LARGE = 24  # pixels from which on images are natural ones in all likelihood, and work counts
_BATCH = 64
_SMOOTHING = 0.02  # half a point of accuracy on unseen writers; more would flatten what distinguishes images of a class


class Classifier(nn.Module):
    """Classify uint8 images of one shape; the 64-wide embedding follows the last SiLU, which unlike ReLU leaves no dead units."""

    shape: Tensor
    accuracy: Tensor

    def __init__(self, channels: int, height: int, width: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("shape", torch.tensor([channels, height, width, classes]))
        self.register_buffer("accuracy", torch.tensor(math.nan))
        with torch.random.fork_rng(devices=[]):  # the layers' own initialisation draws from the global stream
            self.body = _body(channels, min(height, width))
            self.head = nn.Linear(EMBEDDING, classes)

    def forward(self, images: UInt8[Tensor, "n c h w"]) -> tuple[Float[Tensor, "n 64"], Float[Tensor, "n k"]]:
        """Return embedding and logits; images of another shape than the training images' are refused."""
        expected = tuple(self.shape[:3].tolist())
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != expected:
            found = f"{images.dtype} {tuple(images.shape[1:])}"
            raise ValueError(f"the classifier takes uint8 images of shape {expected}, got {found}")
        embedding: Tensor = self.body(images.float() / 127.5 - 1)
        return embedding, self.head(embedding)

    @torch.no_grad()
    def measure(self, images: UInt8[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> None:
        """Keep the share of images classified right as `accuracy`."""
        with single_thread():
            guesses = torch.cat([self(batch)[1].argmax(1) for batch in torch.split(images, 500)])
        self.accuracy.fill_((guesses == labels).double().mean())


def _body(channels: int, size: int) -> nn.Sequential:
    """A stem, a halving for each factor of two above 4×4 pixels, one more convolution, 2×2 pooling, a dense layer.

    On drawn images the stem is 5×5 and does the first halving: half of the work.
    """
    large = size >= _LARGE
    drawn = _drawn(channels, size)
    width, widest = (32 if drawn else 24, 128) if large else (16, 64)
    layers = _stage(channels, width, large, halves=drawn, kernel=5 if drawn else 3)
    for _ in range(max(1, round(math.log2(size / 4)) - drawn)):
        wider = min(2 * width, widest)
        layers += _stage(width, wider, large, halves=True)
        width = wider
    layers += [*_stage(width, width, large), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    body = nn.Sequential(*layers, nn.Linear(4 * width, EMBEDDING), nn.SiLU())
    return body.to(memory_format=torch.channels_last) if large else body


def _drawn(channels: int, size: int) -> bool:
    """Whether images are drawings in all likelihood, such as digits and letters, and of some size."""
    return size >= _LARGE and channels == 1


def _stage(before: int, after: int, large: bool, halves: bool = False, kernel: int = 3) -> list[nn.Module]:
    """A convolution; large images are halved by stride, in half the time of pooling, and need batch norm for it."""
    if large:
        stride = 2 if halves else 1
        convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after), nn.SiLU(inplace=True)]
    pooling = [nn.MaxPool2d(2)] if halves else []
    return [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.SiLU(), *pooling]


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread, so that sums are formed in the same order on every number of cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def default_steps(size: int, channels: int) -> int:
    """Training steps for images of `size` pixels: seconds on one core at 8×8, less than a minute at 32×32, minutes in colour."""
    return 3000 if size > 16 and channels > 1 else 1200


def fit(images: UInt8[Tensor, "n c h w"], labels: Int[Tensor, " n"], seed: int, steps: int | None = None) -> Classifier:
    """Train a classifier with AdamW, a one-cycle schedule and random shifts: of up to an eighth of the image, of a pixel where large grey
    ones are framed and centred as drawings are; colour images are also mirrored.

    Arguments:
        images: of at least 4×4 pixels.
        labels: classes 0…K−1, K ≥ 2.
        seed: of the initial weights, the order of the data and its augmentation.
        steps: of training, `default_steps` if None.

    Raises:
        ValueError: if images and labels do not fit each other or there is nothing to learn.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or min(images.shape[2:], default=0) < 4:
        raise ValueError(f"images must be uint8 (N, C, H, W) of at least 4×4, got {images.dtype} {tuple(images.shape)}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"{len(images)} images but labels of shape {tuple(labels.shape)}")
    if labels.is_floating_point() or len(labels) == 0 or labels.min() < 0 or labels.max() < 1:
        raise ValueError("labels must be the integers 0, 1, …, K−1 of at least two classes")
    images, labels = images.cpu(), labels.cpu().long()
    channels, height, width = images.shape[1:]
    size = min(height, width)
    steps = default_steps(size, channels) if steps is None else steps
    generator = torch.Generator().manual_seed(seed)
    with single_thread(), torch.enable_grad():
        model = Classifier(channels, height, width, int(labels.max()) + 1)
        _initialise(model, generator)
        optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
        for batch in _batches(len(images), steps, generator):
            shown = _shift(images[batch], 1 if _drawn(channels, size) else max(1, size // 8), generator)
            if channels == 3:  # colour: natural images, which mirrored ones are too; digits and letters are not
                mirrored = torch.rand(len(shown), 1, 1, 1, generator=generator) < 0.5
                shown = torch.where(mirrored, shown.flip(3), shown)
            logits = model(shown)[1]
            loss = functional.cross_entropy(logits, labels[batch], label_smoothing=_SMOOTHING)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    model.eval().requires_grad_(False)
    return model


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=math.sqrt(5), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _batches(count: int, steps: int, generator: torch.Generator) -> Iterator[Int[Tensor, " batch"]]:
    """`steps` batches of indices; every index once before any returns, up to an incomplete last batch."""
    size = min(_BATCH, count)
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(count, generator=generator)
        yield order[:size]
        order = order[size:]


def _shift(images: UInt8[Tensor, "n c h w"], most: int, generator: torch.Generator) -> UInt8[Tensor, "n c h w"]:
    """Each image moved by its own −most…most pixels along both axes, black where nothing was."""
    count, channels, height, width = images.shape
    offsets = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator)
    rows = (offsets[0] + torch.arange(height))[:, None, :, None]
    columns = (offsets[1] + torch.arange(width))[:, None, None, :]
    padded = functional.pad(images, (most, most, most, most))
    return padded[torch.arange(count)[:, None, None, None], torch.arange(channels)[:, None, None], rows, columns]
