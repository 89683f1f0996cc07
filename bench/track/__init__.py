"""Regression tracking of throughput: is this checkout slower than that one, on this machine, now?

A comparison runs both sides in fresh processes (`processes`) that work in turn, slice by slice (`turns`), on the same benchmark code
(`timed`), and decides on the paired log-ratios (`decide`, driven by `check`); a number stored by another job never gates anything. `sides`
puts the other side in place, `calibrate` measures how the rule behaves on this machine, `history` and `changepoints` are for reading
trends, `report` and `trend` for showing. The command line is `commands`.
"""
