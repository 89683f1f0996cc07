"""What the server that workers are forked from imports last, so that each of them begins at once.

Our registrations are read here, not by every worker. What the server has made by now is withheld from the workers' garbage collector,
whose first full collection would visit all of it, and so copy the memory that it is in: a quarter of a second. The server itself has it
back as it ends; libraries would call it leaked.
"""

from __future__ import annotations

import atexit
import gc

from bench.components import registry

registry.built_in()
gc.collect()
gc.freeze()
atexit.register(gc.unfreeze)
