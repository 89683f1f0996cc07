"""Steps of training a second on one device, alone and by several processes that share it: what `--jobs-per-device` is worth there.

    python results/throughput/side_by_side.py --processes 1 4 12

A step is an energy step and a base step of the SNGAN ConvNet with the settings of `images.toml`'s profile gpu, on random pictures. Weights
of two trainings from one seed are compared, too: the same bits, or not; and of a GPU's step the kernels are counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing import Queue
from multiprocessing.synchronize import Barrier

import torch
from torch.profiler import ProfilerActivity, profile

from bench.data.images import PixelCodec
from gebm.base import Base, GaussianPrior
from gebm.networks.sngan import SNGANDiscriminator, SNGANGenerator
from gebm.objectives import Kale
from gebm.training import AlternatingTraining, DataStream, TrainingSettings

LATENT, BATCH = 100, 64
AT_ONCE = 16  # in which all kinds of step are recorded


def training(options: argparse.Namespace) -> AlternatingTraining:
    """Return a training that has not begun."""
    torch.manual_seed(0)
    shape, device = (3, 32, 32), options.device
    base = Base(SNGANGenerator(LATENT, shape, options.width), GaussianPrior(LATENT)).to(
        memory_format=torch.channels_last
    )
    energy = SNGANDiscriminator(shape, options.width).to(memory_format=torch.channels_last)
    data = torch.randint(0, 256, (4096, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    stream = DataStream(data.to(device), BATCH, torch.Generator(device).manual_seed(1), PixelCodec(256).dequantise)
    settings = TrainingSettings(
        base_steps=100_000,
        batch_size=BATCH,
        n_critic=1,
        learning_rate=4e-4,
        energy_learning_rate=4e-4,
        betas=(0.0, 0.9),
        clip_norm=1.0,
        penalty=2.0,
        penalty_every=4,
        ema=0.999,
        precision=options.precision,
    )
    noise = torch.Generator(device).manual_seed(2)
    base, energy, objective = base.to(device), energy.to(device), Kale().to(device)
    return AlternatingTraining(base, energy, objective, stream, noise, settings, recordable=not options.eager)


def take(run: AlternatingTraining, steps: int, device: str) -> None:
    """Take so many steps and wait for the device."""
    for _ in range(steps):
        run.step()
    if device == "cuda":
        torch.cuda.synchronize()


def rate(run: AlternatingTraining, options: argparse.Namespace) -> float:
    """Return steps a second over `options.seconds`."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < options.seconds:
        take(run, AT_ONCE, options.device)
        done += AT_ONCE
    return done / (time.perf_counter() - start)


def work(options: argparse.Namespace, barrier: Barrier, rates: Queue[float]) -> None:
    """Warm up, wait for the others, and tell the rate."""
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = options.deterministic
    run = training(options)
    take(run, AT_ONCE, options.device)
    barrier.wait()
    rates.put(rate(run, options))


def together(processes: int, options: argparse.Namespace) -> float:
    """Return the sum of the rates of so many processes that start together."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=work, args=(options, barrier, rates)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = sum(rates.get() for _ in workers)
    for worker in workers:
        worker.join()
    return found


def end(options: argparse.Namespace, **changed: bool) -> list[torch.Tensor]:
    """Return the weights after 48 steps, with options changed."""
    run = training(argparse.Namespace(**vars(options) | changed))
    take(run, 48, options.device)
    return [*run.base.parameters(), *run.energy.parameters()]


def same_bits(options: argparse.Namespace, **changed: bool) -> bool:
    """Return whether a training ends in the same weights as another one with options changed."""
    pairs = zip(end(options), end(options, **changed), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def kernels(options: argparse.Namespace) -> str:
    """Return how many kernels a step launches, and how long they keep the device busy."""
    run = training(options)
    take(run, AT_ONCE, options.device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as seen:
        take(run, AT_ONCE, options.device)
    found = [event for event in seen.events() if str(event.device_type).endswith("CUDA")]
    return f"{len(found) / AT_ONCE:.0f} kernels, {sum(event.device_time for event in found) / AT_ONCE / 1e3:.2f} ms"


def main() -> None:
    """Print whether bits repeat, and a rate for each number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--precision", choices=["bf16", "float32"], default="bf16")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--deterministic", action="store_true", help="as runs do: torch.backends.cudnn.deterministic")
    parser.add_argument("--eager", action="store_true", help="every kernel launched from Python, no recorded steps")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no CUDA device is available here; use --device cpu")
    torch.set_num_threads(1)
    torch.backends.cudnn.deterministic = options.deterministic
    if options.device == "cuda":
        print(f"a step: {kernels(options)}", flush=True)
    print(f"the same bits twice: {same_bits(options)}, and eager: {same_bits(options, eager=True)}", flush=True)
    for processes in options.processes:
        print(f"{processes} side by side: {together(processes, options):.0f} steps/s in all", flush=True)


if __name__ == "__main__":
    main()
