"""What is timed: all of it is there, right, and versioned; and a fast path that is wrong is found out."""

from __future__ import annotations

import runpy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.components import registry
from bench.track import timed
from bench.track.checkouts import Checkout
from bench.track.processes import Processes
from bench.track.timed import Benchmark, Work, clock, worker
from bench.track.timed.agreement import differing
from bench.track.timed.catalogue import BENCHMARKS, RULES, make_sampler
from bench.track.timed.targets import gaussian_log_partition, target, toy
from gebm.samplers import MALA, ULA, Info, Sampler, State
from gebm.samplers.kernel import start

ROOT = Path(bench.__file__).parents[1]
BY_NAME = {benchmark.name: benchmark for benchmark in BENCHMARKS}


def test_every_sampler_of_the_library_is_timed_on_every_target() -> None:
    targets = {"sngan-w16-b64", "sngan-w16-b256", "sngan-w64-b64", "sngan-w64-b256", "flow-b256", "toy-b256"}
    ours = {name for name, entry in registry.entries("samplers").items() if entry.target.startswith("gebm.")}
    assert set(RULES) == ours
    assert {f"{sampler}-{on}" for sampler in ours for on in targets} <= BY_NAME.keys()
    others = {"training-sngan-w64-b128", "features-32x32", "frechet-2048", "log-z-importance-flow", "log-z-ais-flow"}
    assert others <= BY_NAME.keys()
    assert len(BY_NAME) == len(BENCHMARKS)


@pytest.mark.parametrize("name", ["features-8x8", "frechet-256", "log-z-importance-flow", "log-z-ais-flow"])
def test_quick_benchmarks_make_what_is_right(name: str) -> None:
    """Chains have a test of their own; training is checked before it is timed."""
    assert session().answer("checked", name=name) == {"differs": []}


@pytest.mark.parametrize("on", ["toy", "flow"])
@pytest.mark.parametrize("rule", RULES)
def test_the_law_of_every_sampler(rule: str, on: str) -> None:
    """30 comparisons of false-alarm rate 1e-4 each, at fixed seeds."""
    model, beta = target(on, "cpu")
    assert differing(make_sampler(rule), RULES[rule][2], model.for_sampling(), model, beta, "cpu") == []


@dataclass(frozen=True)
class Uncorrected(MALA):
    """Faster than MALA by leaving out its correction."""

    def step(self, potential: Any, state: State, generator: torch.Generator) -> tuple[State, Info]:
        return ULA(self.step_size).step(potential, state, generator)


@dataclass(frozen=True)
class Unmoved(MALA):
    """As fast as can be."""

    def step(self, potential: Any, state: State, generator: torch.Generator) -> tuple[State, Info]:
        none = torch.zeros_like(state.position.energy)
        return state, Info(none, 0, 0, none.long())


@dataclass(frozen=True)
class Unguided(ULA):
    """ULA without the gradient: half the price, and a random walk."""

    def init(self, potential: Any, z: Tensor) -> State:
        return start(potential, z, gradient=False)

    def step(self, potential: Any, state: State, generator: torch.Generator) -> tuple[State, Info]:
        z = state.position.z
        noise = torch.randn(z.shape, generator=generator)
        none = torch.zeros_like(z[:, 0])
        return State(potential.at((1 - self.step_size) * z + (2 * self.step_size) ** 0.5 * noise)), Info(
            none, 0, 1, none.long()
        )


@pytest.mark.parametrize("on", ["toy", "flow"])
@pytest.mark.parametrize("sampler", [Uncorrected(0.8), Unmoved(0.3), Unguided(0.04)], ids=lambda s: type(s).__name__)
def test_a_faster_but_wrong_sampler_is_found_out(sampler: Sampler, on: str) -> None:
    model, beta = target(on, "cpu")
    assert differing(sampler, 60, model.for_sampling(), model, beta, "cpu")


def test_a_copy_with_other_energies_is_found_out() -> None:
    """Weights rounded to steps of their layer's spread; faithful copies, bfloat16 too, are those of `tests/throughput`."""
    model, beta = target("sngan-tiny", "cpu")
    coarse = model.for_sampling()
    for layer in coarse.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            step = layer.weight.std()
            layer.weight.copy_(torch.round(layer.weight / step) * step)
    assert differing(make_sampler("pcn"), RULES["pcn"][2], coarse, model, beta, "cpu")


def test_a_broken_fast_sampler_fails_the_check_of_its_side(tmp_path: Path) -> None:
    """The library itself, in a process of its own, with a MALA that accepts whatever it proposes."""
    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "gebm", broken / "gebm", ignore=shutil.ignore_patterns("__pycache__"))
    for package in ("baselines", "bench"):
        (broken / package).symlink_to(ROOT / package)
    path = broken / "gebm" / "samplers" / "langevin.py"
    source = path.read_text()
    rule = "decision = metropolis(current, proposed, log_alpha, generator)"
    assert source.count(rule) == 1
    path.write_text(source.replace(rule, rule.replace("log_alpha,", "torch.zeros_like(log_alpha),")))
    (found,) = Processes(tmp_path).checked((Checkout("broken", broken),), ["mala-toy-b256"])
    assert found["mala-toy-b256"]["differs"]


def test_the_toys_log_partition_is_the_one_of_the_formula() -> None:
    """By importance sampling with 10⁶ draws, to five standard errors."""
    from gebm.partition import importance_sampling

    found = importance_sampling(toy().potential(1.5), 1_000_000, torch.Generator().manual_seed(0))
    assert abs(found.estimate - gaussian_log_partition(1.5)) < 5 * found.standard_error


def test_flops_of_a_chain_are_those_of_its_passes() -> None:
    """One product forward and one back to z, of 2·4·8·8 operations each."""
    weight = torch.randn(8, 8)
    z = torch.randn(4, 8, requires_grad=True)

    def step() -> None:
        torch.autograd.grad((z @ weight).sum(), z)

    assert clock.flops_of_step(step) == 2 * (2 * 4 * 8 * 8)


def test_a_gpu_is_waited_for_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: the order of calls. Its clocks come from nvidia-smi where there is one."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: calls.append("wait"))
    monkeypatch.setattr(clock.time, "perf_counter", lambda: calls.append("clock") or 0.0)
    clock.sample(lambda: calls.append("step"), 2, "cuda")
    assert calls == ["wait", "clock", "step", "step", "wait", "clock"]


def test_clocks_of_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '1410, 1215, 1980, 45, 250.00'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert clock.clocks("cuda")["gpu"]["clocks.sm"] == "1410"
    assert "gpu" not in clock.clocks("cpu")
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert "gpu" not in clock.clocks("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "name", ["ula-sngan-w16-b64", "ula-sngan-w16-b64-bf16", "mala-toy-b256", "training-sngan-w16-b64"]
)
def test_benchmarks_on_a_gpu(name: str) -> None:
    process = session("cuda")
    assert process.answer("checked", name=name) == {"differs": []}
    assert "error" not in process.answer("built", name=name)
    assert process.answer("warmed", seconds=0.1, cores=[])["peak"] > 0
    assert process.answer("timed", steps=2)["seconds"] > 0


def session(device: str = "cpu") -> worker.Session:
    """What a measuring process does, in this one."""
    return worker.Session(BENCHMARKS, device)


def test_what_a_process_says_has_what_rates_are_made_of() -> None:
    process = session()
    built = process.answer("built", name="ula-flow-b256")
    assert built["amount"] == built["gradient_evaluations"] == 256
    assert built["forward_evaluations"] == 0
    assert built["flops"] > 0
    warmed = process.answer("warmed", seconds=0.01, cores=[])
    assert warmed["peak"] > 0
    assert warmed["step"] > 0
    assert process.answer("timed", steps=3)["seconds"] > 0
    assert process.answer("environment")["capability"]


def test_a_process_answers_what_it_cannot_do_with_an_error() -> None:
    assert session().answer("built", name="unknown") == {"error": "KeyError: 'unknown'"}


def test_a_slice_of_several_steps_has_one_more_before_it() -> None:
    process, done = session(), []
    process.work = Work(lambda: done.append(1), 1.0, list)
    for steps, in_all in ((1, 1), (5, 7)):
        process.answer("timed", steps=steps)
        assert len(done) == in_all


SOURCE = '''
"""A file of benchmarks."""
import time
LENGTH = {length}

def nap(seconds):
    """{words}"""
    time.sleep(LENGTH * seconds)  # {remark}

def unrelated():
    return {other}

def build(seconds, device):
    return nap(seconds)
'''


def file_version(path: Path, seconds: float = 1.0, **content: object) -> str:
    """The version of a benchmark made by that source."""
    path.write_text(SOURCE.format(**{"length": 1, "words": "Nap.", "remark": "zzz", "other": 1} | content))
    timed.definitions.cache_clear()
    return Benchmark("nap", "naps", runpy.run_path(str(path))["build"], {"seconds": seconds}).version


def test_a_version_changes_with_what_is_timed_and_with_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    first = file_version(file)
    assert file_version(file, words="Sleep.", remark="a remark", other=2) == first
    assert file_version(file, length=2) != first
    assert file_version(file, seconds=2.0) != first


def test_versions_tell_benchmarks_apart_and_follow_names_into_other_files(tmp_path: Path) -> None:
    """Of a copy of the catalogue, as that of another checkout is read."""
    known = {benchmark.name: benchmark.version for benchmark in BENCHMARKS}
    assert len(set(known.values())) == len(known)
    folder = tmp_path / "timed"
    shutil.copytree(Path(timed.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    agreement, catalogue = folder / "agreement.py", str(folder / "catalogue.py")
    assert {each.name: each.version for each in worker.defined_in(catalogue)} == known
    agreement.write_text(agreement.read_text().replace("40_000", "50_000"))
    timed.definitions.cache_clear()
    louder = {each.name: each.version for each in worker.defined_in(catalogue)}
    assert louder["ula-toy-b256"] != known["ula-toy-b256"]
    assert louder["frechet-256"] == known["frechet-256"]
