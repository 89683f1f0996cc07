"""`bench show`: one run, everything about it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import complete
from bench.cli.usage import examples, print_json, store_option

if TYPE_CHECKING:
    from rich.console import Console

    from bench.results.one_run import OneRun

__all__ = ["show"]

LOG_LINES = 20
PLOT_LINES, PIPED = 2, 200
SHADES = " ▁▂▃▄▅▆▇█"


@click.command(
    epilog=examples("bench show digits/gebm/0123456789ab-s0", "bench show gebm/0123", "bench show 0123 --json")
)
@click.argument("run", shell_complete=complete("runs"))
@store_option
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def show(run: str, store: Path, as_json: bool) -> None:
    """Show one RUN, named by its id or a part of it: settings, code, log, curve, scores and samples, and how to load it."""
    from bench.results.one_run import OneRun, find_run

    found = OneRun.read(find_run(run, store))
    if as_json:
        print_json(everything(found))
        return
    from rich.console import Console

    console = Console() if Console().is_terminal else Console(width=PIPED)
    for heading, part in (
        ("", head),
        ("Settings", settings),
        ("Code", code),
        ("Curve", curve),
        ("Scores", scores),
        ("Samples", samples),
        ("Log", log),
        ("Load it", loading),
    ):
        if lines := list(part(found, console)):
            if heading:
                console.print(f"\n{heading}", style="bold")
            for line in lines:
                console.print(line, soft_wrap=isinstance(line, str), markup=False, highlight=False)


def everything(run: OneRun) -> dict[str, Any]:
    """Return all that is shown, as JSON has it."""
    from bench.results.one_run import read_curve

    rows = [row._replace(pictures=None if row.pictures is None else str(row.pictures)) for row in run.rows]  # type: ignore[arg-type]
    return {
        "run": run.spec.run_id,
        "folder": str(run.folder.path),
        "state": run.state,
        "reason": run.reason,
        "spec": run.spec.model_dump(mode="json"),
        "training": run.training,
        "stages": [stage._asdict() for stage in run.stages],
        "scores": [row._asdict() for row in rows],
        "curve": list(read_curve(run.folder)),
        "log": run.log,
    }


def head(run: OneRun, _console: Console) -> Iterator[str]:
    """Yield what the run is, how it stands, and what it took."""
    reason = f": {run.reason}" if run.reason else ""
    yield f"{run.spec.run_id}  {run.state}{reason}"
    yield str(run.folder.path)
    yield f"data      {run.spec.dataset}, {run.spec.dataset_digest[:12]}"
    if run.training is None:
        return
    from bench.core.run_folder import progress_words

    training = run.training
    if data := training.get("data"):
        yield f"          {'×'.join(map(str, data['shape']))}; {data['protocol']}; {data['provenance']}"
    if run.temperature is not None:
        yield f"β̂         {run.temperature:.4g}"
    parts = (f"{name} {count:,}" for name, count in training["facts"].get("parameters", {}).items())
    yield f"training  {progress_words(training)} in {training['seconds']:,.0f} s on {training['device']}; " + (
        f"parameters: {', '.join(parts) or 'none'}"
    )


def settings(run: OneRun, _console: Console) -> Iterator[Any]:
    """Yield the resolved settings, a line per phase or network."""
    spec = run.spec.model_dump(mode="json")
    plain = {key: spec[key] for key in ("kind", "base_seed", "seed", "threads")}
    plain |= {key: value for key, value in spec["config"].items() if not isinstance(value, dict)}
    tables = {key: value for key, value in spec["config"].items() if isinstance(value, dict) and key != "base"}
    rows = [(key, listed(value)) for key, value in {"": plain, **tables}.items()]
    if run.spec.base is not None:
        rows.append(("base", run.spec.base.run_id))
    yield grid(("", ""), rows)


def listed(values: Mapping[str, Any]) -> str:
    """Return settings in a row: "steps=100 betas=[0.5, 0.9]"."""
    return "  ".join(f"{key}={value}" for key, value in values.items())


def code(run: OneRun, _console: Console) -> Iterator[Any]:
    """Yield the digest of the code behind training and every readout, and whether it is today's."""
    if run.stages:
        rows = ((name, digest, changed or "current") for name, digest, changed in run.stages)
        yield grid(("stage", "digest", "code and libraries"), rows)


def curve(run: OneRun, console: Console) -> Iterator[Any]:
    """Yield a small plot of every quantity of the training curve, phase by phase."""
    from bench.report.text import number
    from bench.results.one_run import read_curve

    width = min(max(console.width - 56, 16), 64)
    for phase, points in groupby(read_curve(run.folder), key=lambda point: point["phase"]):
        here = list(points)
        rows = []
        for name in dict.fromkeys(name for point in here for name in point if name not in ("phase", "step")):
            values = [point[name] for point in here if name in point]
            ends = f"{number(values[0])} → {number(values[-1])}"
            extent = f"{number(min(values))} … {number(max(values))}"
            rows.append((name, "\n".join(plot(values, width, PLOT_LINES)), ends, extent))
        heading = f"{phase}, step {here[0]['step']:,} to {here[-1]['step']:,}"
        yield grid((heading, "", "first → last", "range"), rows, fold=0)


def plot(values: Sequence[float], width: int, height: int) -> list[str]:
    """Return lines of characters that show values as bars from the lowest to the highest; many are averaged, column by column."""
    width = min(width, len(values))
    edges = [len(values) * column // width for column in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    levels = [1 + round((8 * height - 1) * (mean - low) / (high - low)) if high > low else 4 for mean in means]
    rows = range(height - 1, -1, -1)
    return ["".join(SHADES[min(max(level - 8 * row, 0), 8)] for level in levels) for row in rows]


def scores(run: OneRun, _console: Console) -> Iterator[Any]:
    """Yield a table of readouts by metrics for every key, which is all that its scores depend on besides the samples."""
    from bench.report.one_run import score_tables

    for found in score_tables(run):
        if found.key:
            yield found.key
        yield grid(found.header, found.rows, fold=0)
        yield from found.remarks


def samples(run: OneRun, console: Console) -> Iterator[Any]:
    """Yield the images that were kept, of each readout those of the longest chain: drawn where the terminal can, else as files."""
    from bench.files import read_array, write_output
    from bench.report.one_run import readout_words
    from bench.results.sheets import png_of, sheet

    last = {(row.sampler, row.beta, row.step_size): row for row in run.rows if row.pictures is not None}
    draw = drawing(console)
    for row in last.values():
        images = read_array(str(row.pictures))
        if draw is not None:
            yield readout_words(row)
            yield draw(sheet(images[:32], 16))
            continue
        file = run.folder.path.resolve().parents[3] / "cache" / "sheets" / f"{row.pictures.stem}.png"  # type: ignore[union-attr]
        try:
            write_output(file, png_of(sheet(images)))
        except OSError as error:
            yield f"{readout_words(row)}: {row.pictures}, which cannot be drawn: {error.strerror}"
            continue
        yield f"{readout_words(row)}: {file}"


def drawing(console: Console) -> Any:
    """Return what makes of pixels an image in the terminal (sixel, kitty's protocol or coloured cells); None if nothing can."""
    if not console.is_terminal:
        return None
    try:
        from textual_image.renderable import Image
    except ImportError:
        return None
    from PIL import Image as Picture

    return lambda pixels: Image(Picture.fromarray(pixels), width="auto", height="auto")


def log(run: OneRun, _console: Console) -> Iterator[str]:
    """Yield the end of the run's log."""
    lines = run.log.splitlines()
    if len(lines) > LOG_LINES:
        from bench.core.run_folder import LOG

        yield f"… {len(lines) - LOG_LINES} lines before these in {run.folder / LOG}"
    yield from lines[-LOG_LINES:]


def loading(run: OneRun, _console: Console) -> Iterator[str]:
    """Yield how to take the model further."""
    if run.training is not None:
        path = str(run.folder.path)
        folder = shlex.quote(path)
        yield f"python: bench.load_model({json.dumps(path, ensure_ascii=False)})"
        yield f"shell:  bench sample {folder} --out samples.npz"
        yield f"        bench publish {folder} --to FOLDER"


def grid(header: Sequence[str], rows: Iterable[Sequence[str]], fold: int = -1) -> Any:
    """Return a table without lines, of which only one column is folded where room is short; cells are text, never markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(header))
    for index, name in enumerate(header):
        table.add_column(Text(name), overflow="fold", no_wrap=index != fold % len(header))
    for row in rows:
        table.add_row(*map(Text, row))
    return table
