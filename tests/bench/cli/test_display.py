"""The screen while runs are done: a count where there is something to count, and words where there is not."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench.cli import display
from bench.cli.display import Display
from bench.cli.status import at_words
from bench.executors.jobs import Job, JobEvent

RUN = Job("digits/gebm/1-s0", "", ())
TRAINING: dict[str, Any] = {"phase": "training", "step": 4000, "total": 5000}
SCORING: dict[str, Any] = {"phase": "base: scoring"}


def shown(terminal: bool, *told: dict[str, Any]) -> str:
    """Return what a campaign of one run has on the screen after its worker told something."""
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)
    campaign: Any = SimpleNamespace(pending={}, planned=[RUN], expected_seconds=60.0)
    screen = Display(campaign, console)
    for kind, value in (("started", None), *(("progress", each) for each in told)):
        screen.show(JobEvent(RUN, kind, value))  # type: ignore[arg-type]
    if terminal:
        console.print(screen.progress)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("terminal", [True, False])
def test_scoring_has_no_count_of_training_steps(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "LINE_EVERY", -1.0)
    assert "4000/5000" in shown(terminal, TRAINING)
    *_, last = shown(terminal, TRAINING, SCORING).strip().splitlines()
    assert last.endswith("base: scoring")
    assert "/" not in last.replace(RUN.name, "")


def test_a_run_that_is_read_out_has_a_line_without_a_step() -> None:
    assert at_words(TRAINING) == "training step 4,000 of 5,000"
    assert at_words(SCORING) == "base: scoring"


def test_one_run_is_one_run() -> None:
    assert "0 of 1 run to do" in shown(False)
