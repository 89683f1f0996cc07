"""`bench weights`: a run's weights in files small enough to move."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bench.cli.usage import Failure, UsageProblem, examples, store_option

__all__ = ["weights"]

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_size(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Return the bytes of such as 16MB or 16MiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value.strip())
    if found is None or found[2].upper() not in UNITS or float(found[1]) <= 0:
        raise UsageProblem(f"--shard: '{value}' is no size; write a number with KB, MB or GB, such as 16MB")
    return int(float(found[1]) * UNITS[found[2].upper()])


@click.command(
    epilog=examples(
        "bench weights cifar10/gebm/0123456789ab-s0 weights --half",
        "bench weights cifar10/gebm/0123456789ab-s0 weights --half --shard 8MB",
    )
)
@click.argument("run")
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@store_option
@click.option("--half", is_flag=True, help="float16 instead of float32.")
@click.option("--shard", default="16MB", show_default=True, callback=parse_size, help="Largest size of a file.")
def weights(run: str, out: Path, store: Path, half: bool, shard: int) -> None:
    """Write the weights of a RUN, named by its id or a part of it, to the folder OUT in files small enough to move."""
    from bench.core.store import Store
    from bench.results.weights import checkpoint_of, halved, write_weights

    state, about = checkpoint_of(Store(store).require(), run)
    try:
        out.mkdir(parents=True, exist_ok=True)
        files = write_weights(halved(state) if half else state, about, out, shard)
    except OSError as error:
        raise Failure(f"cannot write to {out}: {error.strerror}") from error
    sizes = [file.stat().st_size for file in files]
    after = f", after {about['after']}" if "after" in about else ""
    click.echo(
        f"{about['run']}{after}: {len(state)} tensors, {sum(sizes) / 1e6:,.1f} MB in {len(files) - 1} shards; {files[0]}"
    )
