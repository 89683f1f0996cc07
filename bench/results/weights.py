"""A run's weights in files small enough to move: safetensors shards under a given size, and an index that vouches for them.

    OUT/weights-00001-of-00003.safetensors …      tensors by name
    OUT/weights.index.json                        which tensor is where, hashes of the shards, the run and its spec; written last

`read_weights` reads the tensors back; a model's `load` takes them, in whatever precision they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.run_folder import RunFolder, StoreError, progress_words, unfinished
from bench.core.store import Store
from bench.files import sha256_file, write_output

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["INDEX", "WeightsError", "checkpoint_of", "halved", "read_weights", "write_weights"]

INDEX = "weights.index.json"
_ENTRY = 256  # bytes that a tensor takes of a shard's header besides its name, at most


class WeightsError(ValueError):
    """Weights that cannot be had or are not what was written."""


def checkpoint_of(store: Store, run: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of the checkpoint of a run, named by any part of its id that no other run has, and the run, its spec and, of an
    unfinished one, how far it is.

    Raises:
        NotInStoreError: if there is no such run, or more than one.
        WeightsError: if it has no checkpoint yet, or that is damaged.
        StoreError: if a file of the run is damaged.
    """
    from safetensors.torch import load_file

    folder = store.find(run)
    run = str(folder.path.relative_to(store.root / "runs"))
    spec, training = folder.read_json("spec.json"), folder.read_json("training.json")
    if training is None:
        why = "`bench run --max-minutes` leaves one of a run that is not done"
        raise WeightsError(f"{run} has no checkpoint yet; {why}")
    if damage := folder.damaged({"checkpoint.safetensors": training["checkpoint"]}):
        raise WeightsError(damage)
    after = {"after": progress_words(training)} if unfinished(training) else {}
    return load_file(folder / "checkpoint.safetensors"), {"run": run, "spec": spec, **after}


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 tensors as float16, rounded by 2⁻¹¹ at most; those with values beyond its range, and all others, as they are."""
    import torch

    largest = torch.finfo(torch.float16).max
    return {
        name: value.half() if value.dtype == torch.float32 and bool((value.abs() <= largest).all()) else value
        for name, value in state.items()
    }


def write_weights(state: Mapping[str, Tensor], about: Mapping[str, Any], out: Path, largest: int) -> list[Path]:
    """Write shards of at most `largest` bytes, tensors in the order of their names, and the index last; return the files, index first.

    Arguments:
        state: tensors by name.
        about: kept in the index.
        out: an existing folder; weights that are there already are replaced.
        largest: bytes per shard.

    Raises:
        WeightsError: if a single tensor is larger.
    """
    from safetensors.torch import save

    shards: list[dict[str, Tensor]] = []
    room = 0
    for name, value in sorted(state.items()):
        needed = value.numel() * value.element_size() + len(name.encode()) + _ENTRY
        if needed + _ENTRY > largest:
            raise WeightsError(f"{name} alone takes {needed:,} bytes; a shard must be allowed more than {largest:,}")
        if needed > room:
            shards.append({})
            room = largest - _ENTRY
        shards[-1][name] = value
        room -= needed
    for old in (out / INDEX, *out.glob("weights-*-of-*.safetensors"), *out.glob(".weights-*.tmp")):
        old.unlink(missing_ok=True)
    files = {f"weights-{i:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards, start=1)}
    for file, shard in files.items():
        write_output(out / file, save(shard))
    index = {
        "about": dict(about),
        "weight_map": {name: file for file, shard in files.items() for name in shard},
        "files": {file: sha256_file(out / file) for file in files},
    }
    RunFolder(out).write_json(INDEX, index)
    return [out / INDEX, *(out / file for file in files)]


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read the tensors that were written to a folder, every shard held against its hash.

    Raises:
        WeightsError: if the index or a shard is missing or damaged.

    Example:
        model.load(read_weights("weights"))
    """
    from safetensors.torch import load_file

    where = RunFolder(Path(folder))
    try:
        index = where.read_json(INDEX)
    except StoreError as error:
        raise WeightsError(str(error)) from error
    if index is None:
        raise WeightsError(f"no {INDEX} in {folder}: not a folder of weights, or writing them was interrupted")
    if damage := where.damaged(index["files"]):
        raise WeightsError(f"{damage}; copy it again")
    return {name: value for file in index["files"] for name, value in load_file(where / file).items()}
