"""Regression tracking of throughput: is this checkout slower than another one, on this machine, now?

`checkouts` puts the two sides in place, `processes` runs them in fresh interpreters, `turns` times them in alternating slices of the same
benchmark code (`timed`), `decide` has the rule on their paired log-ratios and `check` applies it. `calibrate` measures how the rule behaves
on this machine; `history` is for reading trends; `report` shows a check. A number stored by another job never gates anything.
"""
