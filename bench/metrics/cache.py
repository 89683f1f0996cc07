"""Tensors cached on disk under the hash of what they were computed from; a damaged file is reported and computed again."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load, save
from torch import Tensor

from bench.files import CorruptFileError, read_sealed, write_sealed

__all__ = ["content_digest", "read_or_compute"]


def content_digest(tensors: Mapping[str, Tensor], context: str = "") -> str:
    """Return the hex sha256 of a `context` string and named tensors: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256(context.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def read_or_compute(path: Path, compute: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """Return the tensors stored at `path`, computed and stored first if they are not there whole; safe between processes.

    Raises:
        OSError: if the folder cannot be written.
    """
    try:
        return load(read_sealed(path))
    except FileNotFoundError:
        pass
    except CorruptFileError as error:
        warnings.warn(f"{error}; it is computed again", stacklevel=2)
    tensors = {name: tensor.contiguous() for name, tensor in compute().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed(path, save(tensors))
    return tensors
