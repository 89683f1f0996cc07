"""`bench data`: list, fetch and verify datasets."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.completion import complete
from bench.cli.usage import Failure, UsageProblem, cache_root, data_root, examples, weights_root

__all__ = ["at_hand", "data"]


@click.group(
    epilog=examples(
        "bench data list",
        "bench data fetch redwine",
        "bench data fetch miniboone --from ~/Downloads/data.tar.gz",
        "bench data verify digits",
    )
)
def data() -> None:
    """List, fetch and verify datasets."""


@data.command(name="list")
def list_() -> None:
    """List datasets: whether they are at hand, and whether their files are the official ones."""
    from bench.cli.list import summaries
    from bench.data.files import states
    from bench.inception import INCEPTION

    root = data_root()
    click.echo(f"files are looked for in {root}")
    names = summaries("datasets")
    found = states(list(names), root) | states([INCEPTION], weights_root())
    names[INCEPTION] = "weights of the extractor that FID and Inception Score are defined by"
    width, wide = max(map(len, names)), max(map(len, found.values()))
    for name, summary in names.items():
        click.echo(f"  {name:<{width}}  {found[name]:<{wide}}  {summary}")


@data.command(epilog=examples("bench data fetch redwine", "bench data fetch miniboone-small --from ~/miniboone"))
@click.argument("name", shell_complete=complete("datasets"))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    help="Take the file, the official archive, or a folder of files from disk.",
)
@click.option("--accept-unverified", is_flag=True, help="Accept files with another checksum; results are marked.")
def fetch(name: str, source: Path | None, accept_unverified: bool) -> None:
    """Fetch the files of a dataset, or an extractor's weights (inception-v3-compat), by download or from disk."""
    if accept_unverified and source is None:
        raise UsageProblem("--accept-unverified is for files from disk; name them with --from PATH")
    from bench.cli.display import downloading
    from bench.data.downloads import copy_from, fetch
    from bench.data.files import needed_by
    from bench.inception import INCEPTION

    if not needed_by(name):
        click.echo(f"{name}: at hand, nothing to fetch; it comes with the harness")
        return
    root = weights_root() if name == INCEPTION else data_root()
    try:
        if source is not None:
            came = copy_from(source, name, root, accept_unverified)
        else:
            with downloading() as progress:
                came = fetch(name, root, progress)
    except KeyboardInterrupt as error:
        raise Failure("interrupted; what came is kept, the same command continues") from error
    click.echo(f"{name}: {', '.join(came) if came else 'at hand, nothing to fetch'}; in {root}")


@data.command()
@click.argument("names", nargs=-1, shell_complete=complete("datasets"))
def verify(names: tuple[str, ...]) -> None:
    """Check the content of datasets, all that are at hand by default, against the digests this version expects."""
    if different := [name for name in names or at_hand() if not _as_expected(name)]:
        raise Failure(
            f"{', '.join(different)}: not what this version expects; scores cannot be compared with published ones"
        )


def at_hand() -> list[str]:
    """Return the datasets whose files are there, or that need none."""
    from bench.components import registry
    from bench.data.files import AT_HAND, states

    found = states(list(registry.entries("datasets")), data_root())
    return [name for name, state in found.items() if state in AT_HAND]


def _as_expected(name: str) -> bool:
    """Load a dataset, print what it is, and return whether its content is what this version expects, as far as that is known."""
    from bench.cli.display import decoding
    from bench.data import known_digest, load_dataset

    with decoding() as tell:
        dataset = load_dataset(name, data_root(), cache_root(), tell)
    expected, whole = known_digest(name), dataset.digest == dataset.computed_digest()
    if not whole:
        verdict = f"DAMAGED in {cache_root()}; delete it there"
    elif not expected:
        verdict = "no digest on record"
    else:
        verdict = "as expected" if expected == dataset.digest else "DIFFERENT"
    sizes = ", ".join(f"{split} {len(values)}" for split, values in dataset.splits.items())
    click.echo(f"{name}: {verdict}; sha256 {dataset.digest[:16]}…; {sizes}; {dataset.protocol}")
    return whole and expected in ("", dataset.digest)
