"""`bench sample`: new samples of a trained model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import complete
from bench.cli.usage import (
    LARGEST_SEED,
    Failure,
    UsageProblem,
    data_root,
    device_option,
    examples,
    find_devices,
    store_option,
)

if TYPE_CHECKING:
    from bench.results.samples import Drawn

__all__ = ["sample"]

ENDINGS = (".png", ".npy", ".npz")


def parse_beta(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | str | None:
    """Return a β >= 0, or "calibrated"."""
    if value in (None, "calibrated"):
        return value
    try:
        beta = float(str(value))
    except ValueError:
        beta = -1.0
    if not 0 <= beta <= 10**6:
        raise UsageProblem(f"--beta: '{value}' is no temperature; write calibrated, or a number from 0 to 1,000,000")
    return beta


def parse_out(_ctx: click.Context, _param: click.Parameter, value: Path) -> Path:
    """Return a path whose ending says what to write."""
    if value.suffix not in ENDINGS:
        raise UsageProblem(f"--out: '{value}': end the name in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    return value


@click.command(
    epilog=examples(
        "bench sample digits/gebm/0123456789ab-s0 --out sheet.png",
        "bench sample gebm/0123 --n 1000 --beta 1 --sampler mala --steps 500 --out samples.npz",
        "bench sample published/ --steps 0 --out base.png",
    )
)
@click.argument("run", shell_complete=complete("runs"))
@click.option("--n", "count", type=click.IntRange(1, 10**7), default=64, show_default=True, help="How many.")
@click.option(
    "--beta",
    callback=parse_beta,
    help="calibrated, which is the run's own β̂, or a number: 1 is the model. Default: calibrated where it was read out, else 1.",
)
@click.option(
    "--sampler", default="ula", show_default=True, shell_complete=complete("samplers"), help="Of the latent chain."
)
@click.option(
    "--steps",
    type=click.IntRange(0, 10**7),
    help="Length of the chain; 0 draws from the base alone. Default: 100, and 0 for a model without an energy.",
)
@click.option(
    "--step-size",
    type=click.FloatRange(min=0, min_open=True),
    help="Default: that of the run's own chain by this sampler at this β, else the sampler's.",
)
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), default=0, show_default=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    callback=parse_out,
    help="A sheet of images (.png), the samples (.npy), or with latents and energies (.npz).",
)
@device_option
@store_option
def sample(
    run: str,
    count: int,
    beta: float | str | None,
    sampler: str,
    steps: int | None,
    step_size: float | None,
    seed: int,
    out: Path,
    device: str,
    store: Path,
) -> None:
    """Draw samples of the trained model of a RUN, named by its id or a part of it, or of a folder that `bench publish` wrote."""
    from bench.core.model import LatentChains
    from bench.core.surroundings import resolve_device
    from bench.results.models import caveats, find_trained, rebuild
    from bench.results.samples import draw, plan

    find_devices(device)
    trained, weights = find_trained(run, store)
    model = rebuild(trained, weights, str(resolve_device(device)), data_root())
    if out.suffix == ".png" and model.dataset.kind != "image":
        raise UsageProblem(f"--out: samples of {model.dataset.name} are no images; end the name in .npy or .npz")
    length = (100 if isinstance(model, LatentChains) else 0) if steps is None else steps
    planned = plan(model, trained, sampler, beta, length, step_size)
    for text in caveats(trained):
        click.echo(f"bench: {model.spec.run_id} {text}", err=True)
    drawn = draw(model, planned, count, seed)
    write(drawn, out)
    energy = "" if drawn.energy is None else f", mean energy {drawn.energy.mean():.4g}"
    click.echo(f"{count:,} samples of {model.spec.run_id}: {planned}{energy}; {out}")


def write(drawn: Drawn, out: Path) -> None:
    """Write samples in the form that the ending of `out` names.

    Raises:
        Failure: if it cannot be written.
    """
    import numpy as np

    from bench.files import write_output

    buffer = io.BytesIO()
    if out.suffix == ".png":
        from bench.results.sheets import png_of, sheet

        buffer.write(png_of(sheet(drawn.samples)))
    elif out.suffix == ".npy":
        np.save(buffer, drawn.samples, allow_pickle=False)
    else:
        arrays: dict[str, Any] = {"samples": drawn.samples, "latents": drawn.latents, "energy": drawn.energy}
        np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    try:
        write_output(out, buffer.getvalue())
    except OSError as error:
        raise Failure(f"cannot write {out}: {error.strerror}") from error
