"""`bench plan` and `bench run`: what would run, and doing it."""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.executing import executing, execution, make_executor
from bench.cli.usage import (
    Failure,
    UsageProblem,
    cache_root,
    data_root,
    examples,
    find_devices,
    limit_option,
    parse_tag,
    selecting,
    weights_root,
)
from bench.words import plural

if TYPE_CHECKING:
    from rich.console import Console

    from bench.components.registry import Entry
    from bench.core.campaign import Campaign
    from bench.core.plan import Planned
    from bench.core.task import Outcome, Places
    from bench.executors.jobs import Executor, Job

__all__ = ["carry_out", "find_places", "plan", "run", "write_last"]


@click.command(epilog=examples("bench plan --suite images", "bench plan --seeds 0-4 --sweep training.penalty=0.1,1,10"))
@selecting
def plan(**options: Any) -> None:
    """Show what would run, why, and about how long it takes."""
    from bench.core.timing import measured, preparing
    from bench.data import NotAtHandError

    try:
        campaign = make_campaign(**options)
    except NotAtHandError:
        show_without_data(**options)
        raise
    campaign.planned = measured(campaign.planned, campaign.devices)
    warn_of_one_seed(campaign)
    width = max(len(p.task.spec.run_id) for p in campaign.planned)
    for p in campaign.planned:
        cost = "—" if not p.pending else "?" if p.timing == "unknown" else f"{p.seconds / 60:.1f} min"
        name = f"{p.label}; " * (p.label != p.task.spec.model)
        click.echo(f"{p.task.spec.run_id:<{width}}  {p.found.state:<8} {cost:>9}  {name}{p.found.reason}".rstrip("; "))
    first = preparing(campaign.planned)
    for extractor, seconds in first.items():
        cost = "?" if seconds is None else f"{seconds / 60:.1f} min"
        click.echo(f"{extractor:<{width}}  missing  {cost:>9}  extractor, trained first")
    devices = campaign.devices
    where = f"CUDA device{'s' * (len(devices) > 1)} {', '.join(devices)}" if devices else "the CPU"
    words = {
        "measured": "training from two steps, readouts as in earlier runs",
        "trained": "training alone, from two steps; readouts come on top",
        "unknown": "with a minute for each that cannot be timed",
    }
    said = [word for timing, word in words.items() if timing in {p.timing for p in campaign.pending.values()}]
    said += ["extractor left out"] * (None in first.values())
    extra = f" ({', '.join(said)})" if said else ""
    whole = campaign.expected_seconds + sum(filter(None, first.values()))
    click.echo(
        f"{len(campaign.pending)} of {plural(len(campaign.planned), 'run')} to do, about {whole / 60:.1f} minutes{extra} "
        f"with {campaign.workers} side by side on {where}"
    )


def warn_of_one_seed(campaign: Campaign) -> None:
    """Say before the work what one seed cannot give."""
    if len({p.task.spec.seed for p in campaign.planned}) == 1:
        click.echo("bench: one seed gives scores, and no interval or verdict; --seeds 0-2 asks for three", err=True)


def show_without_data(
    suite: str, profile: str, datasets: Sequence[str], models: Sequence[str], seeds: Sequence[int], **_options: Any
) -> None:
    """Print what would run if the data of a suite were at hand, as far as its file says."""
    from bench.core.suite import load_suite

    loaded = load_suite(suite)
    chosen = loaded.profile(profile)
    choices = [each if isinstance(each, str) else " or ".join(each) for each in datasets or chosen.datasets]
    names = models or [*chosen.models, *(each.label for each in loaded.variants_of(profile))]
    for dataset in choices:
        for name in names:
            click.echo(f"{dataset}/{name}  no data  seeds {','.join(map(str, seeds or chosen.seeds))}")


@click.command(
    epilog=examples(
        "bench run --suite images",
        "bench run --suite images --model gebm --seeds 0-4",
        "bench run --suite images --set training.learning_rate=1e-4",
        "bench run --suite my_suite.toml --store /data/runs --max-minutes 60",
        "bench run --suite cifar10 --slurm partition=gpu,gpus_per_node=1,time=8:00:00",
    )
)
@selecting
@executing
@limit_option
@click.option(
    "--tag", default="", callback=parse_tag, help="Remember these runs under a name too, for `bench compare`."
)
def run(
    max_minutes: float | None,
    tag: str,
    executor: str | None,
    slurm: dict[str, Any],
    wait: bool,
    report_too: bool,
    **options: Any,
) -> None:
    """Train, sample, score and tabulate a suite; what is done already is kept."""
    from bench.executors.jobs import Job

    asked = execution(executor, slurm, wait, report_too)
    if not asked.local and (max_minutes or options["jobs_per_device"]):
        which = "--max-minutes" if max_minutes else "--jobs-per-device"
        raise UsageProblem(
            f"{which} is about this machine; {asked.name} has settings of its own, such as --slurm time=8:00:00"
        )
    campaign = make_campaign(**options, tag=tag, local=asked.local)
    made = make_executor(asked, campaign, options["jobs"])
    if asked.name == "inline":
        campaign.planned = [replace(p, task=replace(p.task, raises=True)) for p in campaign.planned]
    warn_of_one_seed(campaign)
    if not asked.local:
        campaign.begin_anew()
    again = [f"--{name}" for name in ("fresh", "retrain") if options[name]]
    page = (campaign.store.root.resolve(), campaign.suite.name, campaign.profile)
    last = [Job("report", "bench.cli.run:write_last", page, resources="report")] if report_too else []
    leaving = "saving what is running" if asked.local else "leaving the runs to their queue"
    carry_out(campaign, made, max_minutes, again, last, leaving, live=asked.name != "inline")


def write_last(store: Path, suite: str, profile: str, _progress: object, _should_stop: object) -> Outcome:
    """Write the report of a suite's runs, as a job that comes after them."""
    from bench.core.store import Store
    from bench.core.task import Outcome
    from bench.report import write_report
    from bench.results.frame import scan

    write_report(scan(Store(store), suite, profile), store / "report")
    return Outcome("done")


def carry_out(
    campaign: Campaign,
    executor: Executor,
    max_minutes: float | None,
    again: Sequence[str],
    last: Sequence[Job] = (),
    leaving: str = "saving what is running",
    live: bool = True,
) -> None:
    """Do a campaign's runs on the screen, show the results, and exit with code 1 if something is wrong or unfinished.

    `again` are the options that must be left out where the same command is to continue; jobs in `last` come after the runs; `leaving`
    says what an interruption does; without `live` bars the terminal is free for a debugger.
    """
    start = time.monotonic()
    deadline = start + max_minutes * 60 if max_minutes else math.inf
    campaign.store.create()
    from rich.console import Console

    from bench.cli.display import Display
    from bench.core.run_folder import LOG

    for p in campaign.planned:
        if text := notice(p):
            click.echo(f"bench: {p.task.spec.run_id}: {text}", err=True)
    console = Console()
    with stop_on_signals(leaving) as asked, Display(campaign, console, live) as display:
        for event in campaign.run(executor, asked, deadline, last):
            display.show(event)
    problems = [show_results(campaign, console)]
    counts = Counter(outcome.state for outcome in campaign.outcomes.values())
    words = [
        f"{counts[state]} {state}" for state in ("done", "hit", "queued", "failed", "stopped", "abort") if counts[state]
    ]
    minutes = (time.monotonic() - start) / 60
    console.print(f"{plural(len(campaign.planned), 'run')}: {', '.join(words)}; {minutes:.1f} minutes")
    if counts["queued"]:
        console.print(
            "`bench status` shows them, --wait follows them, `bench cancel` ends them", highlight=False, soft_wrap=True
        )
    for name, outcome in campaign.outcomes.items():
        log = campaign.store.root / "runs" / name / LOG
        where = f"; see {log}" if outcome.state == "failed" and log.exists() else ""
        problems += [f"{name}: {outcome.reason}{where}"] * (outcome.state in ("failed", "abort"))
    if counts["stopped"] and not counts["abort"]:
        why = "--max-minutes reached" if max_minutes and not asked() else "interrupted"
        same = f"the same command without {' and '.join(again)}" if again else "the same command"
        problems.append(f"{why}; nothing is lost, {same} continues")
    for problem in filter(None, problems):
        click.echo(f"bench: {problem}", err=True)
    if any(problems):
        sys.exit(1)


def make_campaign(
    suite: str,
    store: Path,
    device: str,
    jobs: int | None,
    jobs_per_device: int | None,
    tag: str = "",
    local: bool = True,
    **selected: Any,
) -> Campaign:
    """Plan what a command's options ask for; nothing is written. `local`: runs are done on this machine.

    Raises:
        UsageProblem: if a CUDA device is asked for and there is none.
        Failure: if the store is not a folder.
    """
    from bench.cli.display import decoding
    from bench.components import registry
    from bench.core.campaign import Campaign
    from bench.core.manifests import read_manifest
    from bench.core.packing import packing_of
    from bench.core.plan import Selection, make_plan, mixed_devices
    from bench.core.store import Store
    from bench.core.suite import load_suite
    from bench.data import load_dataset
    from bench.machine import cores, device_memories, device_names

    loaded, places, devices = load_suite(suite), find_places(store, device), find_devices(device) if local else ()
    if jobs_per_device and not devices:
        raise UsageProblem("--jobs-per-device: no CUDA device is used or available here; use --jobs")
    selection = Selection(**selected)
    with decoding() as tell:
        load = functools.partial(load_dataset, root=places.data, cache=places.cache, tell=tell)
        plans = make_plan(loaded, selection, places, load, functools.partial(click.echo, err=True))
    for name in {p.task.spec.model for p in plans}:
        check_model(registry.get("models", name))
    for sentence in mixed_devices(plans, set(device_names()) if devices else {"cpu"}):
        click.echo(f"bench: {sentence}", err=True)
    kept, threads, packing = Store(store), plans[0].task.spec.threads, None
    if devices and not jobs_per_device:
        listed = read_manifest(kept, loaded.name, selection.profile)["runs"]
        runs = dict.fromkeys((*(p.task.spec.run_id for p in plans), *(run["run"] for run in listed)))
        known = list(zip(device_names(), device_memories(), strict=True))
        packing = packing_of(kept, runs, known, max(1, cores() // threads // len(devices)), jobs)
        click.echo(f"bench: {packing.words}", err=True)
    slots = len(devices) * (jobs_per_device or 1)
    side_by_side = max(1, cores() // threads) if local else len(plans)
    workers = packing.workers if packing else min(jobs or slots, slots) if devices else jobs or side_by_side
    return Campaign(loaded, selection.profile, plans, kept, workers, tag, devices=devices, packing=packing)


def find_places(store: Path, device: str) -> Places:
    """Return where a command's runs find what they need, as its options and the environment say.

    Raises:
        Failure: if the store is not a folder.
        StoreError: if it is of another version.
    """
    from bench.core.store import Store
    from bench.core.task import Places

    if store.exists() and not store.is_dir():
        raise Failure(f"the store {store} is not a folder")
    if (store / "runs").is_dir():
        Store(store).require()
    return Places(store, data_root(), weights_root(), cache_root(), device)


def check_model(entry: Entry) -> None:
    """Check a model of another package: better now than in every worker.

    Raises:
        PluginError: if it cannot be imported, or is no complete model.
    """
    if entry.origin:
        from bench.components.registry import PluginError
        from bench.core.model import Model

        model = entry.load()
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise PluginError(
                f"'{entry.name}' of package {entry.origin} must be a class derived from bench.core.model.Model"
            )
        if missing := ", ".join(sorted(model.__abstractmethods__)):
            raise PluginError(f"'{entry.name}' of package {entry.origin} has no {missing}; a model must have them")


def notice(planned: Planned) -> str:
    """Return what the user may not expect to be done with a run; nothing for most."""
    found = planned.found
    if found.state in ("corrupt", "stale"):
        return f"{found.reason}; set aside and {'done' if found.state == 'corrupt' else 'trained'} again"
    if found.state == "failed" and not planned.pending:
        return f"{found.reason}; it would again, --fresh tries all the same"
    if found.stale and found.state in ("hit", "partial"):
        return f"training is stale ({found.stale}); kept and marked, --retrain redoes it"
    return ""


@contextlib.contextmanager
def stop_on_signals(leaving: str) -> Iterator[Callable[[], bool]]:
    """Yield whether to stop: the first Ctrl-C or SIGTERM asks for it, the second one insists; `leaving` says what is done on the first."""
    stopping = False

    def ask(number: int, _frame: Any) -> None:
        nonlocal stopping
        if stopping:
            raise KeyboardInterrupt
        stopping = True
        click.echo(f"\n{signal.Signals(number).name}: {leaving}; once more to leave at once", err=True)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stopping
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def show_results(campaign: Campaign, console: Console) -> str:
    """Print the table and write the report, if there are scores; return why the report cannot be written, if so."""
    if not any(outcome.scored or outcome.state in ("done", "hit") for outcome in campaign.outcomes.values()):
        return ""
    from bench.report import write_report
    from bench.report.terminal import terminal_table
    from bench.results.choice import choose
    from bench.results.frame import scan

    results = scan(campaign.store, campaign.suite.name, campaign.profile)
    if results.runs.empty:
        return f"the list of runs in {campaign.store.root / 'suites'} was moved or removed meanwhile; the same command writes it anew"
    datasets = {planned.task.spec.dataset for planned in campaign.planned}
    terminal_table(choose(results, {"dataset": sorted(datasets)}), console)
    try:
        path = write_report(results, campaign.store.root / "report")
    except OSError as error:
        return f"the runs are safe, but the report cannot be written: {error.strerror}"
    console.print(f"report: {path}", soft_wrap=True)
    return ""
