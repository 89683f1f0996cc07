"""Entry of a measuring process, run as a file; its one argument is the JSON of a `worker.Order`.

`python -m` would take the package of the library under test, so this one is put in its place by hand.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

NAME = "bench.track.timed"


def install() -> None:
    """Make this folder the package `bench.track.timed` of this process."""
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {folder}")
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    install()
    from bench.track.timed.worker import Order, serve

    serve(Order(**json.loads(sys.argv[1])))
