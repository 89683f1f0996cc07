"""Two stores, two parts of one store, or two machines side by side. `sides` reads what is compared, `pairs` compares."""

from bench.results.compare.pairs import Change, Comparison, Difference, Unpaired, compare, to_json
from bench.results.compare.sides import Run, Side

__all__ = ["Change", "Comparison", "Difference", "Run", "Side", "Unpaired", "compare", "to_json"]
