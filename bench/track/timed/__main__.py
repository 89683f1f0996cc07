"""Entry of a measuring process, run as a file; its arguments are those of `worker.serve`.

`python -m` would take the package of the library under test, so this folder is made `bench.track.timed` by hand.
"""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

NAME, FOLDER = "bench.track.timed", Path(__file__).resolve().parent

if __name__ == "__main__":
    package = sys.modules[NAME] = ModuleType(NAME)
    package.__path__, package.__file__ = [str(FOLDER)], str(FOLDER / "__init__.py")
    SourceFileLoader(NAME, package.__file__).exec_module(package)
    from bench.track.timed.worker import serve

    channel, device, root, *file = sys.argv[1:]
    serve(int(channel), device, Path(root), *file)
