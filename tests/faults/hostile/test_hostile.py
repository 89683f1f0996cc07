"""A slice of the campaign of hostile input; the whole of it is `python -m tests.faults.hostile --cases 10000`."""

from __future__ import annotations

import pytest

from .campaign import cases_of, outcome_table, run_cases
from .kinds import LAYOUTS

SEED = 17
CASES = 240


def test_hostile_input_is_read_or_refused_in_a_line() -> None:
    ended = run_cases(cases_of(CASES), SEED)
    failures = [each.words(SEED) for each in ended if each.state == "failed"]
    assert not failures, "\n".join(failures)
    assert len({each.kind for each in ended if each.state == "refused"}) > len({each.kind for each in LAYOUTS}) / 2
    print(outcome_table(ended))


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_every_kind_has_its_share(count: int) -> None:
    cases = cases_of(count)
    assert len(set(cases)) == count
    of_kinds = [sum(LAYOUTS[index].kind == kind for index, _ in cases) for kind in {each.kind for each in LAYOUTS}]
    assert max(of_kinds) - min(of_kinds) <= 1


def test_the_campaign_can_fail() -> None:
    """A worker that is asked for a case that is not there ends, and is said to have; the next one does its case."""
    ended = run_cases(
        [(len(LAYOUTS), 0), (next(i for i, each in enumerate(LAYOUTS) if each.kind == "claims"), 1)], SEED
    )
    assert [each.state == "failed" for each in ended] == [True, False]
    assert "IndexError" in ended[0].why
