"""What can honestly be said from few repeats: intervals, paired differences, aggregates over tasks, several questions at once.

Pure statistics on numpy and scipy, one method a module. Every interval is tested for coverage; where there are too few values for an honest
one, the estimate says so in `why_not` instead of giving numbers. What the numbers mean is the report's business.

| what is assumed of the values | interval | from |
|---|---|---|
| Gaussian, or differences of like laws | `mean_interval`, `paired_difference`: Student-t | n = 2 |
| symmetric around their mean | `sign_flip_interval`: exact | n = 6 |
| independent, of any moderately skewed law | `bootstrap_interval`: percentile-t | n = 5 |
"""

from bench.stats.aggregates import improvement_probability, interquartile_mean
from bench.stats.bootstrap import bootstrap_interval
from bench.stats.estimates import Estimate, Side, mean_interval
from bench.stats.multiplicity import holm, simultaneous_confidence
from bench.stats.pairing import PairedDifference, TwoLevelDifference, paired_difference, two_level_difference
from bench.stats.sign_flips import sign_flip_interval, sign_flip_p_value, smallest_sign_flip_p_value

__all__ = [
    "Estimate",
    "PairedDifference",
    "Side",
    "TwoLevelDifference",
    "bootstrap_interval",
    "holm",
    "improvement_probability",
    "interquartile_mean",
    "mean_interval",
    "paired_difference",
    "sign_flip_interval",
    "sign_flip_p_value",
    "simultaneous_confidence",
    "smallest_sign_flip_p_value",
    "two_level_difference",
]
