"""Claims about the method as data, and what the runs of a store say about each: supported, contradicted, inconclusive, or not run.

`model` says what a claim is, `files` where claims come from, `select` finds the rows, `judge` reads the interval. How findings are shown is
the report's business.
"""

from bench.claims.files import claim_files, load_claims
from bench.claims.judge import Finding, Verdict, judge, to_json
from bench.claims.model import Claim, ClaimError, Reference, Selector

__all__ = [
    "Claim",
    "ClaimError",
    "Finding",
    "Reference",
    "Selector",
    "Verdict",
    "claim_files",
    "judge",
    "load_claims",
    "to_json",
]
