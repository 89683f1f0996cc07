"""Every kind of hostile input."""

from __future__ import annotations

from .data_kinds import DATA
from .result_kinds import RESULTS

__all__ = ["LAYOUTS"]

LAYOUTS = [*DATA, *RESULTS]
