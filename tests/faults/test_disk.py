"""Power cuts and refused calls at moments drawn by chance; all of them by `FAULTS=all`, so many of each kind by `FAULTS=100`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from .disk_trials import Study, power_cut, power_cuts, refusals, refused
from .studies import cache_for

RUNS = (("images", "gan-ns"), ("images", "gan-ns+refit"), ("images", "gebm"), ("density", "gebm-flow-kale"))
FEW = 4
T = TypeVar("T")


def drawn(cases: Sequence[T]) -> Sequence[T]:
    """As many of the cases as are asked for, by the seed FAULTS_SEED."""
    asked = os.environ.get("FAULTS", str(FEW))
    chance = random.Random(int(os.environ.get("FAULTS_SEED", "0")))
    return cases if asked == "all" else chance.sample(cases, min(int(asked), len(cases)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cache_for(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module", params=RUNS, ids=lambda run: f"{run[0]} {run[1]}")
def study(request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study(*request.param, tmp_path_factory.mktemp("study"), cache)


def told(kind: str, subject: str, cases: Sequence[tuple[Any, ...]], fault: Callable[..., str]) -> None:
    """Try every case, print a row of the table of faults, and fail if something was wrong."""
    wrong = [f"{case}: {words}" for case in cases if (words := fault(*case))]
    print(f"| {kind} | {subject} | {len(cases)} | {len(wrong)} |")
    assert not wrong, "\n".join(wrong[:5])


def test_power_cuts(study: Study) -> None:
    end = len(study.log.operations)
    cases = [*drawn(power_cuts(study)), (end, None)]
    told("power cut", f"{study.suite} | {study.model}", cases, partial(power_cut, study))


def test_refused_calls(study: Study) -> None:
    cases = drawn(refusals(study))
    told("refused call", f"{study.suite} | {study.model}", cases, partial(refused, study))
