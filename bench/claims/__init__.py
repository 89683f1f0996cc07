"""Claims about the method as data, and what the runs of a store say about each: supported, contradicted, inconclusive, or not run.

`model` says what a claim is and where claims are, `select` finds the scores, `judge` reads the interval. How judgements are shown is the
report's business.
"""

from bench.claims.judge import Judgement, Outcome, judge, to_json
from bench.claims.model import Claim, ClaimError, load_claims

__all__ = ["Claim", "ClaimError", "Judgement", "Outcome", "judge", "load_claims", "to_json"]
