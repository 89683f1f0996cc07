"""python -m tests.faults.hostile --cases 10000 --seed 0: read hostile input of every kind and print the table of how it ended.

Conditions of each case: the harness's own errors in one line or none; at most 10 seconds of processor time, and 1 GiB of memory; nothing
written outside the case's folder, no process started, no connection made, nothing unpickled, no text run as code. Exit code 1 if
a case fails.
"""

from __future__ import annotations

import argparse
import sys
import time

from .campaign import Ended, cases_of, outcome_table, run_cases
from .kinds import LAYOUTS


def main() -> int:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000, help="in all, equally many of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", default=[], choices=sorted({each.kind for each in LAYOUTS}))
    parser.add_argument("--layout", type=int, help="with --number: one case again, as a failure names it")
    parser.add_argument("--number", type=int)
    chosen = parser.parse_args()
    once = chosen.layout is not None and chosen.number is not None
    cases = [(chosen.layout, chosen.number)] if once else cases_of(chosen.cases, chosen.kind)
    start = time.monotonic()

    def tell(ended: Ended) -> None:
        if ended.state == "failed":
            print(ended.words(chosen.seed), flush=True)

    ended = run_cases(cases, chosen.seed, tell)
    if once:
        print(f"{ended[0].kind}: {ended[0].state} {ended[0].why}")
    print(outcome_table(ended))
    print(f"\n{len(ended):,} cases, seed {chosen.seed}, {(time.monotonic() - start) / 60:.0f} minutes")
    return int(any(each.state == "failed" for each in ended))


if __name__ == "__main__":
    sys.exit(main())
