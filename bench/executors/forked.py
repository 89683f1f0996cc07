"""What the server that workers are forked from imports last, so that each of them begins at once.

What is the same for all runs is read here, not by every worker: our registrations, the packages' entry points, the commit, the pools of
threads, the sources of the modules that are imported by now. What the server has made is withheld from the workers' garbage collector,
whose first full collection would visit all of it, and so copy the memory that it is in: a quarter of a second. The server itself has it
back as it ends; libraries would call it leaked. Of what the system refuses to it, such as one more process, it says nothing: the command
does.
"""

from __future__ import annotations

import atexit
import gc
import sys

from bench.components import registry
from bench.components.digests import text_digest, top
from bench.machine import commit, thread_pools

registry.built_in()
registry.installed()
commit()
thread_pools()
for name in list(sys.modules):
    if top(name) in registry.BUILT_IN:
        text_digest(name)
sys.excepthook = lambda kind, error, trace: (
    None if isinstance(error, OSError) else sys.__excepthook__(kind, error, trace)
)
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)
