"""What the hour of load calls growth; the hour itself is `python -m tests.faults.load`."""

from __future__ import annotations

import pytest

from .load import grown


@pytest.mark.parametrize(
    ("what", "before", "after", "grows"),
    [
        ("worker MiB", 600.0, 640.0, False),
        ("worker MiB", 600.0, 650.0, True),
        ("front end files", 31.0, 34.0, False),
        ("front end files", 31.0, 40.0, True),
        ("temporary files", 2.0, 6.0, True),
    ],
)
def test_growth_is_more_than_a_twentieth_and_some_slack(what: str, before: float, after: float, grows: bool) -> None:
    """From the second quarter to the last: the first is the way up, of whatever is made once."""
    assert bool(grown({what: [0.0] * 90 + [before] * 90 + [after] * 180})) == grows
