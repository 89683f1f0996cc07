"""The command line: `bench list | plan | run | status | report | claims | compare | export | weights | track | doctor | data | completion`.

Everything that depends on the terminal or the environment ends here. Heavy imports happen inside commands, so that `bench --help` and
`bench list` answer at once. Exit codes: 0 done, 1 a run failed or is unfinished, 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench import __version__
from bench.cli.claims import claims
from bench.cli.compare import compare
from bench.cli.export import export
from bench.cli.track import track
from bench.cli.usage import (
    KINDS,
    Failure,
    Grouped,
    UsageProblem,
    catalogue,
    complete,
    examples,
    one_line_errors,
    selecting,
    store_option,
    tag_option,
)
from bench.cli.weights import weights

if TYPE_CHECKING:
    from rich.console import Console

    from bench.core.campaign import Campaign
    from bench.core.plan import Planned
    from bench.core.spec import Suite
    from bench.core.store import Store

__all__ = ["main"]


@click.group(
    cls=Grouped,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples("bench run --suite images", "bench report", "bench list models"),
)
@click.version_option(__version__, prog_name="bench")
def main() -> None:
    """Compare generalized energy based models with GANs of the same architecture, under shared seeds."""


@main.command(name="list", epilog=examples("bench list", "bench list models"))
@click.argument("kind", required=False, type=click.Choice(KINDS))
def list_(kind: str | None) -> None:
    """List suites, datasets, models, samplers or metrics."""
    for each in [kind] if kind else KINDS:
        if not kind:
            click.secho(each, bold=True)
        names = catalogue(each)
        width = max(map(len, names), default=0)
        for name, summary in names.items():
            click.echo(f"  {name:<{width}}  {summary}")


def check_device(name: str) -> str:
    """The device asked for; 'auto' is resolved by the worker, so that this process need not load torch.

    Raises:
        UsageProblem: if CUDA is asked for and there is none.
    """
    if name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UsageProblem("--device cuda: no CUDA device is available here; use --device cpu")
    return name


def planned(
    suite: str,
    profile: str,
    datasets: tuple[str, ...],
    models: tuple[str, ...],
    seeds: tuple[int, ...] | None,
    device: str,
    store: Path,
    fresh: bool,
    create: bool,
) -> tuple[Suite, Store, list[Planned]]:
    """Suite, store and plan of a command's options."""
    from bench.cli.display import decoding
    from bench.core.plan import Selection, make_plan
    from bench.core.store import Store
    from bench.core.suite_files import load_suite
    from bench.data import load_dataset

    loaded = load_suite(suite)
    where = Store(store)
    if store.exists() and not store.is_dir():
        raise Failure(f"the store {store} is not a directory")
    if create:
        where.create()
    selection = Selection(profile, datasets, models, seeds or ())
    places = (data_root(), weights_root(), check_device(device))
    remark = functools.partial(click.echo, err=True)
    with decoding() as tell:
        load = functools.partial(load_dataset, cache=cache_root(), tell=tell)
        plans = make_plan(loaded, selection, where, *places, fresh, cache_root(), load, remark)
    return loaded, where, plans


def data_root() -> Path:
    """Where files of datasets are: BENCH_DATA, or else a folder of this user's cache."""
    if os.environ.get("BENCH_DATA"):
        return Path(os.environ["BENCH_DATA"]).resolve()
    import pooch

    return Path(pooch.os_cache("gebm-bench"))


def cache_root() -> Path:
    """Where decoded images are kept: BENCH_CACHE, or else a folder of this user's cache."""
    if os.environ.get("BENCH_CACHE"):
        return Path(os.environ["BENCH_CACHE"]).resolve()
    import pooch

    return Path(pooch.os_cache("gebm-bench")) / "decoded"


def weights_root() -> Path:
    """Where the weights of published extractors are: BENCH_WEIGHTS, or else with the files of datasets."""
    return Path(os.environ["BENCH_WEIGHTS"]).resolve() if os.environ.get("BENCH_WEIGHTS") else data_root()


def default_jobs(threads: int) -> int:
    """As many runs side by side as there are cores for them."""
    from bench.core.machine import cores

    return max(1, cores() // threads)


@main.command(epilog=examples("bench plan --suite images", "bench plan --seeds 0,1,2,3,4"))
@selecting
@click.option("--jobs", type=click.IntRange(min=1), default=None, help="Runs side by side; default: one a core.")
def plan(jobs: int | None, **options: Any) -> None:
    """Show what would run: hit, stale, partial, missing or failed, and about how long it takes."""
    from bench.core.plan import wants_work

    with one_line_errors():
        _, _, plans = planned(**options, create=False)
    workers = jobs or default_jobs(plans[0].task.spec.threads)
    width = max(len(p.task.spec.run_id) for p in plans)
    for p in plans:
        cost = f"{p.seconds / 60:5.1f} min" if wants_work(p) else "        —"
        click.echo(f"{p.task.spec.run_id:<{width}}  {p.found.state:<8} {cost}  {p.found.reason}")
    todo = [p.seconds for p in plans if wants_work(p)]
    click.echo(
        f"{len(todo)} of {len(plans)} runs to do, about {max(sum(todo) / workers, max(todo, default=0)) / 60:.1f} "
        f"minutes with {workers} side by side"
    )


@main.command(
    epilog=examples(
        "bench run --suite images",
        "bench run --suite images --model gebm --seeds 0,1,2,3,4",
        "bench run --suite my_suite.toml --store /data/runs --max-minutes 60",
    )
)
@selecting
@click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Stop cleanly after so many minutes, shared by the runs; what is unfinished is scored as it stands. The same command "
    "continues.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=None, help="Runs side by side; default: one a core.")
@tag_option
def run(max_minutes: float | None, jobs: int | None, tag: str, **options: Any) -> None:
    """Train, sample, score and tabulate a suite; what is done already is kept."""
    start = time.monotonic()
    with one_line_errors():
        suite, store, plans = planned(**options, create=True)
    from rich.console import Console

    from bench.cli.display import follow
    from bench.core.campaign import Campaign
    from bench.core.plan import wants_work

    workers = jobs or default_jobs(plans[0].task.spec.threads)
    campaign = Campaign(suite, options["profile"], plans, store, workers, tag)
    deadline = start + max_minutes * 60 if max_minutes else float("inf")
    console = Console()
    for p in plans:
        if p.found.state in ("corrupt", "stale"):
            click.echo(
                f"bench: {p.task.spec.run_id} is {p.found.state}: {p.found.reason}; set aside and done again", err=True
            )
        elif not wants_work(p) and p.found.state == "failed":
            click.echo(
                f"bench: {p.task.spec.run_id} {p.found.reason}; it would again, --fresh tries all the same", err=True
            )
    with graceful_stop() as asked, one_line_errors():
        follow(campaign, console, asked, deadline)
    why = "interrupted" if asked() else "--max-minutes reached"
    finish_run(campaign, console, time.monotonic() - start, why, options["fresh"])


@contextlib.contextmanager
def graceful_stop() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM asks to stop, the second one insists."""
    stopping = False

    def ask(number: int, _frame: Any) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        click.echo(f"\n{signal.Signals(number).name}: saving what is running; once more to leave at once", err=True)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def finish_run(campaign: Campaign, console: Console, seconds: float, why_stopped: str, fresh: bool) -> None:
    """The table, the report, what failed, and the exit code."""
    counts = campaign.counts()
    scored = counts["done"] + counts["hit"] or any(outcome.scored for outcome in campaign.outcomes.values())
    problem = show_results(campaign, console) if scored else ""
    words = ", ".join(
        f"{counts[state]} {state}" for state in ("done", "hit", "failed", "stopped", "abort") if counts[state]
    )
    console.print(f"{len(campaign.planned)} runs: {words}; {seconds / 60:.1f} minutes")
    for name, outcome in campaign.outcomes.items():
        if outcome.state in ("failed", "abort"):
            click.echo(f"bench: {name}: {outcome.reason}", err=True)
    if problem:
        click.echo(f"bench: {problem}", err=True)
    if counts["stopped"] and not counts["abort"]:
        same = "the same command without --fresh" if fresh else "the same command"
        click.echo(f"bench: {why_stopped}; nothing is lost, {same} continues", err=True)
    if problem or counts["failed"] or counts["stopped"] or counts["abort"]:
        sys.exit(1)


def show_results(campaign: Campaign, console: Console) -> str:
    """Print the table and write the report; a sentence if the report cannot be written."""
    from bench.report import terminal_table, write_report
    from bench.results.frame import scan

    with one_line_errors():
        frame, facts = scan(campaign.store, campaign.suite.name, campaign.profile)
        terminal_table(frame, console, facts)
        try:
            path = write_report(frame, facts, campaign.store.root / "report", "markdown")
        except OSError as error:
            return f"the runs are safe, but the report cannot be written: {error.strerror}"
    console.print(f"report: {path}", soft_wrap=True)
    return ""


@main.command(epilog=examples("bench status", "bench status --store results/runs"))
@store_option
def status(store: Path) -> None:
    """Show every run of a store: done, failed and why, unfinished."""
    from bench.core.store import Store
    from bench.results.frame import run_states

    with one_line_errors():
        states = run_states(Store(store).require())
    if not states:
        click.echo("no runs yet; `bench run --suite images` makes some")
    width = max((len(name) for name, _, _ in states), default=0)
    for name, state, reason in states:
        click.echo(f"{name:<{width}}  {state:<8} {reason}".rstrip())


@main.command(
    epilog=examples(
        "bench report",
        "bench report --format html",
        "bench report --format json > rows.json",
        "bench report --out results/digits",
    )
)
@store_option
@click.option("--suite", default=None, help="Only this suite.", shell_complete=complete("suites"))
@click.option("--profile", type=click.Choice(["quick", "paper"]), default=None, help="Only this profile.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["markdown", "html", "json", "csv", "latex"]),
    default="markdown",
    show_default=True,
    help="html: one file with everything in it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=None,
    help="Directory for the report, or its file; default: STORE/report. json, csv and latex go to the screen without it.",
)
@click.option("--latex", "format_", flag_value="latex", help="LaTeX tables; the same as --format latex.")
def report(store: Path, suite: str | None, profile: str | None, format_: str, out: Path | None) -> None:
    """Make the report: Markdown with figures, a page of HTML, LaTeX tables, or the rows as JSON or CSV."""
    from bench.core.store import Store
    from bench.core.suite_files import load_suite
    from bench.report import render, write_report
    from bench.results.frame import scan

    with one_line_errors():
        where = Store(store).require()
        named = load_suite(suite).name if suite and suite.endswith(".toml") else suite
        frame, facts = scan(where, named, profile)
        if out is None and format_ in ("json", "csv"):
            click.echo(render(frame, facts, format_), nl=False)
            return
        try:
            path = write_report(frame, facts, out or where.root / "report", format_)
        except OSError as error:
            raise Failure(f"cannot write the report to {out or where.root / 'report'}: {error.strerror}") from error
    if format_ == "markdown":
        click.echo(path.read_text(encoding="utf-8"))
    click.echo(f"report: {path}", err=True)


@main.command()
@store_option
def doctor(store: Path) -> None:
    """Check versions, device, data, weights and disk, and train for a few seconds."""
    from bench.cli.doctor import examine

    sys.exit(examine(store, data_root(), weights_root()))


@main.group(
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
def data_list() -> None:
    """List datasets: whether they are at hand, where, and whether their files are the official ones."""
    from bench.data.downloads import fetchable
    from bench.data.files import states
    from bench.metrics import INCEPTION

    root = data_root()
    click.echo(f"files are looked for in {root}")
    names = dict.fromkeys(fetchable(), "files alone: no dataset here reads them") | catalogue("datasets")
    names[INCEPTION] = "weights of the extractor that FID and Inception Score are defined by"
    found = states(list(names), root) | states([INCEPTION], weights_root())
    width, wide = max(map(len, names)), max(map(len, found.values()))
    for name, summary in names.items():
        click.echo(f"  {name:<{width}}  {found[name]:<{wide}}  {summary}")


@data.command(epilog=examples("bench data fetch redwine", "bench data fetch miniboone-small --from ~/miniboone"))
@click.argument("name", shell_complete=complete("datasets"))
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    default=None,
    help="Take the file, the official archive, or a folder of files from disk.",
)
@click.option("--accept-unverified", is_flag=True, help="Take files of another checksum; results are marked.")
def fetch(name: str, source: Path | None, accept_unverified: bool) -> None:
    """Bring to this machine the files of a dataset, or an extractor's weights (inception-v3-compat): downloaded, or from disk."""
    if accept_unverified and source is None:
        raise UsageProblem("--accept-unverified is for files from disk; name them with --from PATH")
    from bench.cli.display import downloading
    from bench.data.downloads import fetch, needs, place
    from bench.metrics import INCEPTION

    root = weights_root() if name == INCEPTION else data_root()
    with one_line_errors():
        if not needs(name):
            click.echo(f"{name}: at hand, nothing to fetch; it comes with the harness")
            return
        try:
            if source is not None:
                came = place(name, source, root, accept_unverified)
            else:
                with downloading() as progress:
                    came = fetch(name, root, progress)
        except KeyboardInterrupt as error:
            raise Failure("interrupted; what came is kept, the same command continues") from error
    click.echo(f"{name}: {', '.join(came) if came else 'at hand, nothing to fetch'}; in {root}")


def at_hand() -> list[str]:
    """The datasets whose files are there, or that need none."""
    from bench.data.files import AT_HAND, states

    found = states(list(catalogue("datasets")), data_root())
    return [name for name, state in found.items() if state in AT_HAND]


@data.command()
@click.argument("names", nargs=-1, shell_complete=complete("datasets"))
def verify(names: tuple[str, ...]) -> None:
    """Check the content of datasets, all that are at hand by default, against the digests this version expects."""
    from bench.cli.display import decoding
    from bench.data import KNOWN_DIGESTS, load_dataset

    failed = False
    with one_line_errors():
        for name in names or at_hand():
            with decoding() as tell:
                dataset = load_dataset(name, data_root(), cache_root(), tell)
            whole = dataset.digest == dataset.computed_digest()
            expected = KNOWN_DIGESTS.get(name)
            sound = whole and expected in (None, dataset.digest)
            failed = failed or not sound
            verdict = (
                f"DAMAGED in {cache_root()}; delete it there"
                if not whole
                else "as expected"
                if expected == dataset.digest
                else "no digest on record"
                if expected is None
                else "DIFFERENT"
            )
            sizes = ", ".join(f"{split} {len(values)}" for split, values in dataset.splits.items())
            click.echo(f"{name}: {verdict}; sha256 {dataset.digest[:16]}…; {sizes}; {dataset.protocol}")
    if failed:
        raise Failure(
            "a dataset differs from what this version expects; its scores cannot be compared with published ones"
        )


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(bench completion bash)"."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    if made is None:
        raise Failure(f"no completion for {shell}")
    click.echo(made(main, {}, "bench", "_BENCH_COMPLETE").source())


for command in (claims, compare, export, track, weights):
    main.add_command(command)
