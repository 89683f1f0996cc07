"""Names of components, what they are in a line, and where they are: datasets, models, samplers, metrics, suites.

Nothing heavy is imported to answer `bench list`; an entry's code is imported when it is used. A third party registers components from its
own package through entry points in the groups `gebm_bench.datasets`, `gebm_bench.models` and `gebm_bench.samplers`; each loads to an
`Entry`'s target.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

__all__ = ["Entry", "UnknownNameError", "closest", "entries", "get", "suite_files"]

Kind = Literal["datasets", "models", "samplers"]


class UnknownNameError(LookupError):
    """No component of this name."""


@dataclass(frozen=True)
class Entry:
    """A component: its name, a line about it, and `module:attribute` where it is defined."""

    name: str
    summary: str
    target: str
    settings: dict[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """Import and return what the entry names."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


BUILT_IN: dict[Kind, tuple[Entry, ...]] = {
    "datasets": (Entry("digits", "scikit-learn's 1,797 real 8×8 digits; embedded", "bench.datasets.images:digits"),),
    "models": (
        Entry(
            "gebm",
            "GEBM by KALE on an implicit base; energy refitted on the frozen base",
            "bench.models:LatentModel",
            {"objective": "gebm.objectives:Kale", "has_energy": True},
        ),
        Entry(
            "gebm-dv",
            "GEBM by the Donsker–Varadhan objective on an implicit base",
            "bench.models:LatentModel",
            {"objective": "gebm.objectives:DonskerVaradhan", "has_energy": True},
        ),
        Entry(
            "gan-hinge",
            "GAN with the hinge loss, the GEBM's own networks",
            "bench.models:LatentModel",
            {"objective": "baselines.gan:Hinge", "has_energy": False},
        ),
        Entry(
            "gan-ns",
            "GAN with the non-saturating loss, the GEBM's own networks",
            "bench.models:LatentModel",
            {"objective": "baselines.gan:NonSaturating", "has_energy": False},
        ),
        Entry(
            "data",
            "held-out real data in a model's place: the floor of every score",
            "bench.models:HeldOutData",
            {"has_energy": False, "one_seed": True},
        ),
    ),
    "samplers": (
        Entry("ula", "unadjusted Langevin", "gebm.samplers:ULA"),
        Entry("mala", "Metropolis-adjusted Langevin", "gebm.samplers:MALA"),
    ),
}


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """All components of a kind by name, built-in ones first."""
    found = {entry.name: entry for entry in BUILT_IN[kind]}
    for point in entry_points(group=f"gebm_bench.{kind}"):
        distribution = point.dist.name if point.dist else "an installed package"
        found.setdefault(point.name, Entry(point.name, f"from {distribution}", point.value))
    return found


def get(kind: Kind, name: str) -> Entry:
    """The component of that name.

    Raises:
        UnknownNameError: naming the nearest valid choice.
    """
    known = entries(kind)
    if name not in known:
        raise UnknownNameError(f"no {kind.removesuffix('s')} '{name}'; {closest(name, known)}")
    return known[name]


def suite_files() -> dict[str, Path]:
    """The suites that ship with the harness, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "suites").glob("*.toml"))}


def closest(name: str, known: Iterable[str]) -> str:
    """'did you mean …?' for a name, or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
