"""`bench refit`: an energy fitted on a trained generator, wherever that is from, and read out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from bench.cli.completion import complete
from bench.cli.usage import (
    LARGEST_SEED,
    device_option,
    examples,
    find_devices,
    fresh_option,
    limit_option,
    set_option,
    store_option,
    suite_option,
)

__all__ = ["refit"]


@click.command(
    epilog=examples(
        "bench refit digits/gan-ns/6b8dbebde97f-s0",
        "bench refit generator.safetensors --dataset digits --steps 2000",
        "bench refit 6b8dbebde97f-s0 --set post_hoc.penalty=1",
        "bench refit my_package.networks:generator --latent 64 --suite cifar10",
    )
)
@click.argument("generator")
@suite_option
@click.option(
    "--dataset",
    help="What the generator imitates; default: what the run was trained on, or the profile's first.",
    shell_complete=complete("datasets"),
)
@click.option("--seed", type=click.IntRange(0, LARGEST_SEED), help="Default: the run's own, or 0.")
@click.option("--steps", type=click.IntRange(min=1), help="Energy steps at most; default: the profile's.")
@click.option(
    "--energy",
    type=click.Choice(["refit", "warm"]),
    default="refit",
    show_default=True,
    help="refit: from fresh weights; warm: from the run's discriminator.",
)
@set_option
@click.option("--latent", type=click.IntRange(1, 10**5), help="Dimension of its latents; default: the suite's.")
@device_option
@store_option
@limit_option
@fresh_option
def refit(
    generator: str, suite: str, store: Path, device: str, max_minutes: float | None, fresh: bool, **asked: Any
) -> None:
    """Fit a KALE energy on a trained GENERATOR, and read both out as the suite's models are.

    GENERATOR is the id of a run in the store, or its beginning; a .safetensors file with weights of the suite's own generator; or
    package.module:name, a function without arguments that returns a module from latents (n, latent) ~ N(0, I) to images in [-1, 1].
    A generator from elsewhere becomes a run of the store, so that its file is needed only once; a module must stay importable.
    `bench report` lists what was fitted under the suite's name with -refit.
    """
    from bench.cli.display import decoding
    from bench.cli.run import carry_out, find_places
    from bench.core.campaign import Campaign
    from bench.core.store import Store
    from bench.core.suite import load_suite
    from bench.data import load_dataset
    from bench.executors.jobs import Terms
    from bench.executors.processes import Processes
    from bench.images.refits import Refit, plan_refit, take_in

    loaded, places, devices = load_suite(suite), find_places(store, device), find_devices(device)
    wanted = Refit(generator, fresh=fresh, **asked)
    with decoding() as tell:
        load = functools.partial(load_dataset, root=places.data, cache=places.cache, tell=tell)
        planned, network = plan_refit(loaded, wanted, places, load)
    kept = Store(store).create()
    if network is not None and planned.task.base is not None:
        take_in(planned.task.base, network)
    listed = loaded.model_copy(update={"name": f"{loaded.name}-refit"})
    campaign = Campaign(listed, wanted.profile, [planned], kept, workers=1, keep=True)
    carry_out(campaign, Processes(Terms(1, devices)), max_minutes, ["--fresh"] if fresh else [])
