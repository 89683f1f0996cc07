"""A campaign of faults: `python -m tests.faults.campaign --seed 0 --cuts 500 --refusals 500 --kills 100`.

Every fault is followed by what a user would do, the same command again, and by a comparison of every number with those of a run that
nothing happened to. The table that it prints is results/faults.md.
"""
