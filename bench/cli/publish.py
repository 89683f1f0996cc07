"""`bench publish`: a trained model as a folder that others can load."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.completion import complete
from bench.cli.usage import Failure, examples, store_option

__all__ = ["publish"]


@click.command(epilog=examples("bench publish digits/gebm/0123456789ab-s0 --to published"))
@click.argument("run", shell_complete=complete("runs"))
@click.option("--to", "out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write.")
@store_option
def publish(run: str, out: Path, store: Path) -> None:
    """Write the trained model of a RUN, named by its id or a part of it, into a folder laid out as the Hugging Face Hub has it.

    Weights as safetensors, a configuration that `bench.load_model` reads, and a model card with scores, data, settings and limits. Nothing
    is sent anywhere: look at the card, set a licence in it, and push the folder with your own tools.
    """
    from bench.report.model_card import publish
    from bench.results.models import caveats, find_trained
    from bench.results.one_run import OneRun, find_run

    found = OneRun.read(find_run(run, store))
    try:
        files = publish(found, out)
    except OSError as error:
        raise Failure(f"cannot write to {out}: {error.strerror}") from error
    for text in caveats(find_trained(out)[0]):
        click.echo(f"bench: {found.spec.run_id} {text}; the card says so", err=True)
    click.echo(
        f'{found.spec.run_id}: {", ".join(file.name for file in files)} in {out}; bench.load_model("{out}") loads it'
    )
