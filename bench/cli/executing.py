"""Where runs are done: the options that say so, what suites and the user's own file say of it, and the executor made from all of that.

The user's file is BENCH_CONFIG, or else config.toml in this user's folder of settings; both it and a suite may have a table
`[executor.NAME]` with settings of the executor of that name. A suite's go before the file's, and the command line's before both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.completion import complete
from bench.cli.usage import UsageProblem, folder_of, together

if TYPE_CHECKING:
    from bench.core.campaign import Campaign
    from bench.executors.jobs import Executor

__all__ = ["Execution", "executing", "make_executor"]


def parse_settings(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> dict[str, Any]:
    """Return `key=value` pairs between commas; a part without a key belongs to the value before it, as in nodelist=n1,n2."""
    pairs: list[list[str]] = []
    for part in ",".join(value).split(",") if value else ():
        key, equals, given = part.partition("=")
        if equals and key.strip():
            pairs.append([key.strip().replace("-", "_"), given])
        elif pairs and not equals:
            pairs[-1][1] += f",{part}"
        else:
            raise UsageProblem(f"--slurm: '{part}' is no setting; write such as partition=gpu,time=8:00:00,mem=32G")
    return {key: typed(given) for key, given in pairs}


def typed(text: str) -> str | int | bool:
    """Return what TOML would have: a whole number, true or false, or else a string."""
    return int(text) if text.isdecimal() else {"true": True, "false": False}.get(text, text)


executing = together(
    click.option(
        "--executor",
        default=None,
        help="Where runs are done: processes, slurm, inline (to debug), or a plug-in's.  [default: processes]",
        shell_complete=complete("executors"),
    ),
    click.option(
        "--slurm",
        multiple=True,
        callback=parse_settings,
        help="Slurm's options, such as partition=gpu,gpus_per_node=1,time=8:00:00,mem=32G; repeatable; says --executor slurm too.",
    ),
    click.option(
        "--wait", is_flag=True, help="Follow runs that are in a queue to their end; without it they are submitted."
    ),
    click.option("--report", "report_too", is_flag=True, help="Submit a last job that writes the report."),
)
"""The options that say where runs are done."""


@dataclass(frozen=True)
class Execution:
    """An executor's name, the settings that the command line gives it, whether to wait, and whether it computes on this machine."""

    name: str
    settings: Mapping[str, Any]
    wait: bool
    local: bool


def execution(executor: str | None, slurm: Mapping[str, Any], wait: bool, report_too: bool) -> Execution:
    """Return what the options ask for.

    Raises:
        UsageProblem: if they contradict each other.
        UnknownNameError: if there is no such executor.
    """
    from bench.components import registry

    name = executor or ("slurm" if slurm else "processes")
    local = bool(registry.get("executors", name).facts.get("local"))
    if slurm and name != "slurm":
        raise UsageProblem(f"--slurm is for --executor slurm, not {name}")
    for option, given in (("--wait", wait), ("--report", report_too)):
        if given and local:
            raise UsageProblem(f"{option} is for runs in a queue; {name} does so anyway")
    return Execution(name, slurm, wait, local)


def make_executor(asked: Execution, campaign: Campaign, jobs: int | None) -> Executor:
    """Return the executor of a campaign.

    Raises:
        UsageProblem: if a file says what cannot be.
        ExecutorError: if the executor cannot do as it is told.
    """
    from bench.components import registry
    from bench.executors.jobs import Terms

    settings: dict[str, Any] = {"cpus_per_task": campaign.planned[0].task.spec.threads} if asked.name == "slurm" else {}
    for each in (own_settings(asked.name), campaign.suite.executor.get(asked.name, {}), asked.settings):
        tables = {key: settings.get(key, {}) | value for key, value in each.items() if isinstance(value, Mapping)}
        settings |= {**each, **tables}
    store = campaign.store
    workers = campaign.workers if asked.local else jobs
    terms = Terms(
        workers,
        campaign.devices,
        settings,
        folder=store.root.resolve() / "jobs",
        lock=store.lock_manifest,
        wait=asked.wait,
        glance=campaign.glance,
        room=(lambda: campaign.workers) if campaign.packing else None,
    )
    made: Executor = registry.get("executors", asked.name).load()(terms)
    return made


def own_settings(executor: str) -> Mapping[str, Any]:
    """Return what the user's file says of an executor.

    Raises:
        UsageProblem: if it cannot be read, or has what nothing reads.
        UnknownNameError: if it speaks of an executor that there is not.
    """
    from bench.components import registry

    path = folder_of("BENCH_CONFIG") or Path(click.get_app_dir("gebm-bench")) / "config.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{path}: cannot be read: {error}") from error
    tables = content.pop("executor", {})
    if content or not (isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values())):
        raise UsageProblem(f"{path}: {next(iter(content), 'executor')}: only tables [executor.NAME] are read")
    for name in tables:
        registry.get("executors", name)
    found: Mapping[str, Any] = tables.get(executor, {})
    return found
