"""Jobs in this process: in order, to their end, and what they raise comes out."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.executors.inline import Inline
from bench.executors.jobs import Job, Terms

JOBS = '''
import os

DONE = []


def work(name, progress, should_stop):
    """Tell, note the name, and return the process."""
    progress({"phase": "training", "step": 1})
    progress({"warning": f"{name} warns"})
    DONE.append(name)
    return os.getpid()


def fail(progress, should_stop):
    raise ZeroDivisionError("out of here")
'''


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module of jobs."""
    (tmp_path / "made_up_inline.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    import made_up_inline  # type: ignore[import-not-found]

    made_up_inline.DONE.clear()
    return made_up_inline  # type: ignore[no-any-return]


def test_jobs_are_done_here_after_what_they_depend_on(made_up: SimpleNamespace) -> None:
    first, second = (Job(name, "made_up_inline:work", (name,)) for name in ("first", "second"))
    last = Job("last", "made_up_inline:work", ("last",), ("first", "second"))
    events = list(Inline(Terms()).run([last, first, second], lambda: False))
    assert made_up.DONE == ["first", "second", "last"]
    assert [event.kind for event in events] == ["started", "progress", "done"] * 3
    assert {event.value for event in events if event.kind == "done"} == {os.getpid()}
    assert [event.value["warning"] for event in events if event.kind == "progress"][-1] == "last warns"


@pytest.mark.usefixtures("made_up")
def test_what_a_job_raises_comes_out_and_a_stop_comes_between_jobs() -> None:
    failing = Job("failing", "made_up_inline:fail", ())
    with pytest.raises(ZeroDivisionError, match="out of here"):
        list(Inline(Terms()).run([failing], lambda: False))
    assert list(Inline(Terms()).run([failing], lambda: True)) == []
