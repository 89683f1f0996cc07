"""The table of ratios from a pytest-benchmark JSON: `python tests/throughput/report.py throughput.json > results/throughput/cpu.md`.

A ratio is the median over rounds of plain seconds / fast seconds, each pair from one round, with the smallest and the largest.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

BARS = {("ULA", "float32"): 2.0, ("ULA", "bfloat16"): 4.0, ("MALA", "float32"): 2.5, ("HMC", "float32"): 2.5}
HEADER = """| sampler | path | gradients a step | chain-steps/s | gradient evaluations/s | of matmul peak | ratio to plain (range) | bar |
|---|---|---:|---:|---:|---:|---|---|"""


def report(measured: dict[str, Any]) -> str:
    """Markdown of one file's benchmarks."""
    benchmarks = [each for each in measured["benchmarks"] if "gradient_evaluations" in each["extra_info"]]
    if not benchmarks:
        raise ValueError("no benchmark of chains in this file; was it made with --benchmark-only?")
    rows = [row for benchmark in benchmarks for row in _rows(benchmark)]
    return "\n".join([_machine(measured, benchmarks), "", HEADER, *rows]) + "\n"


def _machine(measured: dict[str, Any], benchmarks: list[dict[str, Any]]) -> str:
    first, cpu = benchmarks[0]["extra_info"], measured["machine_info"].get("cpu", {})
    loads = [benchmark["extra_info"]["load"] for benchmark in benchmarks]
    peak = {key: max(b["extra_info"]["matmul_peak"][key] for b in benchmarks) / 1e9 for key in first["matmul_peak"]}
    return (
        f"{cpu.get('brand_raw', 'unknown CPU')}, {first['device']}, {first['threads']} threads, torch {first['torch']}; SNGAN ConvNet "
        f"32×32 of width {first['width']}, batch {first['batch']}, {first['flops_per_evaluation'] / 1e9:.2f} GFLOP a gradient evaluation "
        f"and chain. Matrix products in the same process: float32 {peak['float32']:.0f}, bfloat16 {peak['bfloat16']:.0f} GFLOP/s. "
        f"Load average at the end of each: {', '.join(f'{load:.1f}' for load in loads)} (the benchmark itself makes about "
        f"{first['threads']})."
    )


def _rows(benchmark: dict[str, Any]) -> list[str]:
    name, info = benchmark["params"]["name"], benchmark["extra_info"]
    order = [path for path in ("plain", "autograd.grad", "float32", "bfloat16") if path in info["seconds"]]
    return [_row(name, path, info) for path in order]


def _row(name: str, path: str, info: dict[str, Any]) -> str:
    seconds, evaluations = info["seconds"][path], info["gradient_evaluations"][path]
    steps = info["batch"] / statistics.median(seconds)
    peak = info["matmul_peak"].get(path, info["matmul_peak"]["float32"])
    share = steps * evaluations * info["flops_per_evaluation"] / peak
    ratios = [plain / fast for plain, fast in zip(info["seconds"]["plain"], seconds, strict=True)]
    ratio = "1" if path == "plain" else f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    bar = BARS.get((name, path))
    verdict = "" if bar is None else f"{bar:g}: {'reached' if statistics.median(ratios) >= bar else 'not reached'}"
    return f"| {name} | {path} | {evaluations} | {steps:.1f} | {steps * evaluations:.1f} | {share:.0%} | {ratio} | {verdict} |"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/throughput/report.py FILE.json")
    sys.stdout.write(report(json.loads(Path(sys.argv[1]).read_text())))
