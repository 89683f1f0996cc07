"""GEBM Bench: runs, stores, scores and reports comparisons of GEBMs with GANs and flows.

`bench.load(store)` gives every score of a store as a pandas frame, `bench.load_model(run)` a trained model; the command line is in
`bench.cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.results.models import load_model
    from bench.results.tidy import load

__all__ = ["__version__", "load", "load_model"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load` and `load_model`, imported when they are asked for, so that the command line starts fast."""
    if name == "load":
        from bench.results.tidy import load

        return load
    if name == "load_model":
        from bench.results.models import load_model

        return load_model
    raise AttributeError(f"module 'bench' has no attribute '{name}'")
