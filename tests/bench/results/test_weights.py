"""Weights in shards: the same tensors come back, every file is as small as asked, and what is damaged or absent is named."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from bench.cli import main
from bench.core.run_folder import RunFolder
from bench.core.store import Store
from bench.files import sha256_file
from bench.results.weights import INDEX, WeightsError, halved, read_weights, write_weights


def tensors(sizes: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(len(sizes))
    return {f"layer.{number}.weight": torch.randn(size, generator=generator) for number, size in enumerate(sizes)}


@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=30), largest=st.integers(3500, 20000))
def test_every_shard_is_small_and_everything_comes_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], largest: int
) -> None:
    out, state = tmp_path_factory.mktemp("weights"), tensors(sizes)
    index, *shards = write_weights(state, {"run": "r"}, out, largest)
    assert all(shard.stat().st_size <= largest for shard in shards)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in (index, *shards))
    found = read_weights(out)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], value) for name, value in state.items())


def test_halves_are_rounded_and_what_does_not_fit_is_kept() -> None:
    state = {
        "weight": torch.randn(1000, generator=torch.Generator().manual_seed(0)),
        "large": torch.tensor([1.0, 1e5]),
        "count": torch.tensor(3),
    }
    found = halved(state)
    assert {name: value.dtype for name, value in found.items()} == {
        "weight": torch.float16,
        "large": torch.float32,
        "count": torch.int64,
    }
    torch.testing.assert_close(found["weight"].float(), state["weight"], rtol=2**-11, atol=2**-25)


def test_a_tensor_larger_than_a_shard_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"layer.0.weight alone takes 4,\d+ bytes; .* more than 4,000"):
        write_weights(tensors([1000]), {}, tmp_path, 4000)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda out: (out / "weights-00002-of-00003.safetensors").unlink(), "00002-of-00003.safetensors is missing"),
        (lambda out: flip(out / "weights-00003-of-00003.safetensors"), "00003-of-00003.safetensors is corrupt: .*; copy it again"),
        (lambda out: flip(out / INDEX), f"{INDEX} is corrupt"),
        (lambda out: (out / INDEX).write_text("[]"), f"{INDEX} is corrupt"),
        (lambda out: (out / INDEX).unlink(), f"no {INDEX} in .*: not a folder of weights"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_named(tmp_path: Path, damage: object, message: str) -> None:
    write_weights(tensors([600, 600, 600]), {"run": "r"}, tmp_path, 3500)
    damage(tmp_path)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path)


def flip(path: Path) -> None:
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def trained(
    store: Store, run: str, synthetic: ModuleType, done: int = 10, asked: int = 10
) -> tuple[RunFolder, torch.nn.Linear]:
    """A run as far as `bench weights` reads it, and what was trained."""
    folder, model = RunFolder(store.root / "runs" / run), torch.nn.Linear(30, 100)
    folder.path.mkdir(parents=True)
    folder.write_json("spec.json", synthetic.run_spec("digits", "gebm") | {"seed": 0})
    (folder / "checkpoint.safetensors").write_bytes(save(model.state_dict()))
    steps = {"steps_done": done, "steps_asked": asked}
    digest = sha256_file(folder / "checkpoint.safetensors")
    folder.write_json("training.json", synthetic.TRAINED | {"checkpoint": digest} | steps)
    return folder, model


def test_a_run_moves_and_gives_the_same_values(tmp_path: Path, synthetic: ModuleType) -> None:
    store, out = Store(tmp_path / "store").create(), tmp_path / "weights"
    _, whole = trained(store, "digits/gebm/0-s0", synthetic)
    arguments = ["weights", "digits/gebm/0-s0", str(out), "--store", str(store.root), "--half", "--shard", "6.8KB"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "MB in 2 shards" in result.output
    about = json.loads((out / INDEX).read_text())["about"]
    assert (about["run"], about["spec"]["model"], "after" in about) == ("digits/gebm/0-s0", "gebm", False)
    moved = torch.nn.Linear(30, 100)
    moved.load_state_dict(read_weights(out))
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(0))
    assert moved.weight.dtype == torch.float32
    torch.testing.assert_close(moved(x), whole(x), rtol=0, atol=0.01)
    assert CliRunner().invoke(main, [*arguments[:-2], "--shard", "1MB"]).exit_code == 0
    assert len(list(out.iterdir())) == 2  # shards of before are gone


def test_an_unfinished_run_moves_too_and_says_so(tmp_path: Path, synthetic: ModuleType) -> None:
    store = Store(tmp_path / "store").create()
    arguments = ["weights", "digits/gan-ns/0-s0", str(tmp_path / "w"), "--store", str(store.root)]
    refused = CliRunner().invoke(main, arguments)
    assert (refused.exit_code, "no run 'digits/gan-ns/" in refused.output) == (2, True)
    folder, _ = trained(store, "digits/gan-ns/0-s0", synthetic, 2, 120)
    assert "after 2 of 120 steps" in CliRunner().invoke(main, arguments).output
    flip(folder / "checkpoint.safetensors")
    assert "is corrupt" in CliRunner().invoke(main, arguments).output
    (folder / "training.json").unlink()
    assert "has no checkpoint yet" in CliRunner().invoke(main, arguments).output


@pytest.mark.parametrize("size", ["16", "0MB", "MB", "16 potatoes", "-1MB"])
def test_what_is_no_size_is_said(size: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["weights", "r", str(tmp_path), "--store", str(tmp_path / "none"), "--shard", size]
    )
    if size == "16":  # bytes: a size, but there is no store
        assert (result.exit_code, "no store at" in result.output) == (1, True)
    else:
        assert (result.exit_code, "is no size; write a number with KB, MB or GB" in result.output) == (2, True)
