"""Results as a pandas frame: from a store of runs to a table and a paired difference with its interval.

    python examples/analyse_results.py [STORE]     a folder that `bench run` made; without one, a small store is made first

Cells are marked with `# %%`: editors run them one by one, as in a notebook.
"""

# %% Which store
import subprocess
import sys
import tempfile
from pathlib import Path

import bench
from bench.stats import paired_difference

SUITE = """
name = "example"
summary = "a learned energy on a base that misses the data's support, too small to be more than an example"
kind = "chains"

[profiles.quick]
datasets = ["line"]
models = ["toy-known", "toy-kale"]
seeds = [0, 1, 2]
minutes_per_run = 0.02
network = { widths = [32, 32] }
refit = { steps = 200, batch_size = 128, learning_rate = 5e-3, penalty = 0.003, penalty_every = 4 }

[profiles.quick.evaluation]
chains = 8
warmup = 50
budgets = [100]
law_samples = 1000
samplers = [{ sampler = "mala" }]
"""


def small_store(folder: Path) -> Path:
    """Return the store that `bench run --suite example.toml --store runs` makes."""
    suite = folder / "example.toml"
    suite.write_text(SUITE, encoding="utf-8")
    command = [sys.executable, "-m", "bench", "run", "--suite", str(suite), "--store", str(folder / "runs")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "runs"


store = Path(sys.argv[1]) if len(sys.argv) > 1 else small_store(Path(tempfile.mkdtemp()))

# %% Every score is a row: what was run, what was sampled, what it scored, and whether it may be used
frame = bench.load(store)
done = frame[frame["status"] == "done"]
print(f"{len(frame)} rows, {len(done)} of them usable, from {frame['run'].nunique()} runs")

# %% A table: mean over seeds, a row per model and sampler, a column per metric
METRIC = "sliced-wasserstein"
shown = done[done["metric"].isin([METRIC, "mean-error[E]", "rhat"])]
table = shown.pivot_table(index=["dataset", "model", "sampler"], columns="metric", values="value")
print(table.round(3).to_string(na_rep="—"))

# %% Does a learned energy bring the model nearer to the truth than its base? Paired by seed, under one score key
chosen = done[(done["metric"] == METRIC) & (done["model"] == "toy-kale")]
for (dataset, key), group in chosen.groupby(["dataset", "key"]):
    by_seed = {name: part.set_index("seed")["value"].to_dict() for name, part in group.groupby("sampler")}
    if {"base", "resampled"} <= by_seed.keys():
        found = paired_difference(by_seed["resampled"], by_seed["base"]).estimate
        if found is not None and found.ci_low is not None:
            print(f"{dataset}: {found.mean:.3f} [{found.ci_low:.3f}, {found.ci_high:.3f}], n = {found.n} ({key})")
