"""Claims about the method as data, and what the runs of a store say about each: supported, contradicted, inconclusive, not enough seeds or
not run.

`model` says what a claim is, by which rule it is judged and where claims are; `select` finds the scores, `weigh` reads one comparison,
`judge` makes one verdict of them. How judgements are shown is the report's business.
"""

from bench.claims.judge import Judgement, Outcome, judge, to_json
from bench.claims.model import Claim, ClaimError, load_claims
from bench.claims.weigh import Comparison

__all__ = ["Claim", "ClaimError", "Comparison", "Judgement", "Outcome", "judge", "load_claims", "to_json"]
