"""Claims about the method as data, and what the runs of a store say about each: supported, contradicted, inconclusive, or not run.

`model` says what a claim is, `files` where claims come from, `select` finds the rows, `decide`
reads an interval, `judge` does it all. How findings are shown is the report's business.
"""

from bench.claims.decide import Verdict
from bench.claims.files import claim_files, load_claims
from bench.claims.judge import Finding, judge, to_json
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
