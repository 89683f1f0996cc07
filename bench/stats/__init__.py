"""What can honestly be said from few repeats: intervals, paired differences, several questions at once.

Pure statistics on numpy and scipy. Every interval is tested for coverage; where there are too few values for an honest one, the estimate
says so in `why_not` instead of giving numbers. What the numbers mean is the report's business.
"""

from bench.stats.estimates import Estimate, Side, mean_interval
from bench.stats.pairing import PairedDifference, TwoLevelDifference, paired_difference, two_level_difference
from bench.stats.significance import holm, sign_flip_p_value, simultaneous_confidence

__all__ = [
    "Estimate",
    "PairedDifference",
    "Side",
    "TwoLevelDifference",
    "holm",
    "mean_interval",
    "paired_difference",
    "sign_flip_p_value",
    "simultaneous_confidence",
    "two_level_difference",
]
