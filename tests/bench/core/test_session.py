"""Sessions: whatever the moment a run is stopped, continuing gives the very same result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.core.session import InterruptedRunError, Session
from gebm.training import DivergedError


class Walk:
    """A random walk: the smallest phase whose result depends on everything that must be restored."""

    def __init__(self, total: int = 30, broken_at: int = -1) -> None:
        self.done, self.total, self.broken_at = 0, total, broken_at
        self.generator = torch.Generator().manual_seed(0)
        self.position = torch.zeros(())

    def step(self) -> dict[str, Any]:
        self.done += 1
        self.position = self.position + torch.randn((), generator=self.generator)
        return {"position": torch.tensor(float("nan")) if self.done == self.broken_at else self.position}

    def state_dict(self) -> dict[str, Any]:
        return {"done": self.done, "position": self.position, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.done, self.position = state["done"], state["position"]
        self.generator.set_state(state["generator"])


def run(folder: Path, stop_after: int | None = None, code: str = "f", warnings: list[Any] | None = None) -> list[Any]:
    """Two phases, stopped after so many steps in this attempt; the walks and the curve."""
    steps = 0

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        return stop_after is not None and steps >= stop_after

    heard = [] if warnings is None else warnings
    session = Session(folder, code, heard.append, should_stop, log_every=5, save_every=0.0)
    walks = [Walk(), Walk(17)]
    for name, walk in zip("ab", walks, strict=True):
        session.drive(name, walk)
    session.finish()
    return [walk.position.item() for walk in walks] + [(folder / "curve.jsonl").read_text()]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a session without interruption makes."""
    return run(tmp_path_factory.mktemp("whole"))


@given(stops=st.lists(st.integers(1, 40), min_size=1, max_size=4))
@settings(max_examples=10)
def test_an_interrupted_session_continues_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, expected: list[Any], stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    for stop in stops:
        try:
            run(folder, stop)
        except InterruptedRunError:
            continue
    assert run(folder) == expected


def test_the_curve_has_every_logged_step_once(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="a at step 12 of 30"):
        run(tmp_path, 12)
    run(tmp_path)
    points = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    steps = [(point["phase"], point["step"]) for point in points]
    assert steps == [("a", step) for step in range(5, 31, 5)] + [("b", step) for step in (5, 10, 15, 17)]


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-7], lambda raw: raw[:100] + bytes([raw[100] ^ 1]) + raw[101:], lambda _: b""]
)
def test_a_damaged_resume_file_is_named_and_not_used(tmp_path: Path, expected: list[Any], damage: Any) -> None:
    with pytest.raises(InterruptedRunError):
        run(tmp_path, 12)
    resume = tmp_path / "resume.pt"
    resume.write_bytes(damage(resume.read_bytes()))
    warnings: list[Any] = []
    assert run(tmp_path, warnings=warnings) == expected
    assert str(resume) in warnings[0]["warning"]
    assert "corrupt" in warnings[0]["warning"]


def test_the_state_of_other_code_is_not_continued(tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        run(tmp_path, 12, code="old")
    warnings: list[Any] = []
    run(tmp_path, code="new", warnings=warnings)
    assert "other code" in warnings[0]["warning"]


def test_nothing_is_begun_where_the_folder_was_removed(tmp_path: Path) -> None:
    """As where the store is moved meanwhile: what is made in its place would pass for a store."""
    with pytest.raises(FileNotFoundError):
        run(tmp_path / "store" / "runs" / "one")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    session = Session(tmp_path, "f", lambda _: None, lambda: False, log_every=5)
    walk = Walk(broken_at=10)
    with pytest.raises(DivergedError, match="position not finite in a at step 10"):
        session.drive("a", walk)
    assert walk.done == 10
