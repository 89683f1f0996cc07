"""What README and results/ say in words is what the reports beside them say in their tables: every interval is there, digit for digit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NUMBER = r"[−-]?\d+(?:,\d{3})*(?:\.\d+)?"
INTERVAL = re.compile(rf"({NUMBER})(?:\s+[a-z]+){{0,2}}\s+\[({NUMBER}),\s+({NUMBER})\]")
STATED = {
    "README.md": [
        f"results/{each}/report.md"
        for each in (
            "images-long",
            "images-standard",
            "images-steps",
            "images-gpu",
            "images-quick",
            "images-energies",
            "images-energies-long",
            "guided-long",
            "guided-images",
            "guided-images-long",
            "images-scores",
            "class-balance",
        )
    ],
    "results/density/README.md": ["results/density/report.md"],
}
"""Texts, and the reports that they speak of."""


def intervals(text: str) -> set[tuple[str, ...]]:
    """Every "mean [low, high]" of a text without its signs, the ends by size: "better by 0.8" and "−0.8" are the same."""
    plain = re.sub(
        r"[*_`|]", " ", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    )  # output is no statement
    found = (tuple(each.replace("−", "").replace("-", "") for each in groups) for groups in INTERVAL.findall(plain))
    return {(mean, *sorted(ends)) for mean, *ends in found}


def stated() -> list[tuple[str, str, list[str]]]:
    """Every section that makes statements: its name, its text and the reports that it speaks of."""
    found = [(name, (ROOT / name).read_text(), reports) for name, reports in STATED.items()]
    for section in re.split(r"^## ", (ROOT / "results/README.md").read_text(), flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        if link := re.search(r"\]\(([a-z-]+)/(?:README|report)\.md\)", title):
            found.append((title, text, [f"results/{link[1]}/report.md"]))
    return found


@pytest.mark.parametrize(("name", "text", "reports"), stated(), ids=[name[:30] for name, _, _ in stated()])
def test_every_interval_that_is_stated_stands_in_a_report(name: str, text: str, reports: list[str]) -> None:
    shown = set[tuple[str, ...]]().union(*(intervals((ROOT / report).read_text()) for report in reports))
    assert sorted(intervals(text) - shown) == []


def test_an_interval_is_found_whatever_its_sign_and_unit() -> None:
    assert intervals("better by **0.82 nats [0.45, 1.19]**") == intervals("| −0.82 [−1.19, −0.45] |")
    assert intervals("by 6.8 [3.5, 10.1] in") == {("6.8", "10.1", "3.5")}
    assert intervals("0.8 [0.4, 1.2]") != intervals("0.8 [0.4, 1.3]")
