"""Which CUDA devices a run may use, counted by a stand-in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench import machine


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a driver of CUDA devices."""
    monkeypatch.setattr(machine, "DRIVERS", (str(tmp_path),))


def count(devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torch see so many devices."""
    monkeypatch.setattr(machine, "device_names", lambda: ("GPU",) * devices)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("visible", "seen", "names"),
    [
        (None, 3, ("0", "1", "2")),
        ("2,0", 2, ("2", "0")),
        ("GPU-6b2e, MIG-1f", 2, ("GPU-6b2e", "MIG-1f")),
        ("1,7", 1, ("1",)),  # there is no device 7, which ends the list
        ("", 0, ()),
        (None, 0, ()),
    ],
)
def test_devices_are_named_as_the_environment_names_them(
    visible: str | None, seen: int, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    count(seen, monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.cuda_devices("auto") == machine.cuda_devices("cuda") == names
    assert machine.cuda_devices("cpu") == ()


def test_without_a_driver_torch_is_asked_only_by_those_who_insist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "DRIVERS", (str(tmp_path / "none"),))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    count(1, monkeypatch)
    assert (machine.cuda_devices("auto"), machine.cuda_devices("cuda")) == ((), ("0",))


def test_torch_counts_in_a_process_of_its_own() -> None:
    assert machine.device_names() == tuple(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
    assert len(machine.device_memories()) == len(machine.device_names())


def test_names_and_memories_of_devices_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(stdout="84987740160 NVIDIA H100 80GB HBM3\n8589934592 GPU\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: said)
    monkeypatch.setattr(machine, "_devices_seen", machine._devices_seen.__wrapped__)
    assert machine.device_names() == ("NVIDIA H100 80GB HBM3", "GPU")
    assert machine.device_memories() == (84987740160, 8589934592)
