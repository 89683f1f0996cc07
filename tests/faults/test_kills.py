"""Processes struck at moments drawn by chance: one strike of each kind on one suite here; so many of each on both by `FAULTS=20`."""

from __future__ import annotations

import os

import pytest

from .kill_trials import STRIKES, Campaign

ASKED = os.environ.get("FAULTS", "")
SUITES = ("images", "density") if ASKED else ("density",)
IN_TESTS = ("worker killed", "fork server killed", "all killed")


@pytest.fixture(scope="module", params=SUITES)
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(request.param, tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("strike", STRIKES if ASKED else IN_TESTS)
def test_struck_and_typed_again(campaign: Campaign, strike: str) -> None:
    seed = int(os.environ.get("FAULTS_SEED", "0"))
    count = int(ASKED) if ASKED.isdecimal() else 1
    wrong = [f"{strike} {n}: {words}" for n in range(seed, seed + count) if (words := campaign.trial(strike, n))]
    print(f"| {strike} | {campaign.suite} | all | {count} | {len(wrong)} |")
    assert not wrong, "\n".join(wrong)
