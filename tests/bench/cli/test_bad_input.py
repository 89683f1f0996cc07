"""What a user can get wrong ends in one line that says what and where: exit code 2 for wrong usage, 1 for a store that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
import requests
from click.testing import CliRunner

from bench.cli import main
from bench.components import registry
from bench.core.manifests import write_manifest
from bench.core.store import Store
from bench.data import downloads

from ..conftest import HOLE, TINY

SUITES = {
    "types": ("seeds = [0, 1]", 'seeds = "zero"'),
    "negative": ("base_steps = 60", "base_steps = -3"),
    "unknown": ("penalty_every = 4", "penaltyevery = 4"),
    "step": ("step_size = 1e-2", "step_size = 1e9"),
    "draws": ("partition_samples = 200", "partition_samples = 1000000000000"),
    "threads": ("minutes_per_run", "threads = 1000000\nminutes_per_run"),
    "sampler": ('"ula"', '"ulla"'),
    "family": ('"mlp"', '"mpl"'),
    "kind": ("summary", 'kind = "image"\nsummary'),
    "ghost": ('"ula"', '"ghost-sampler"'),
    "nothing": ('"ula"', '"no-sampler"'),
    "number": ("samples = 100", 'metrics = ["number"]\nsamples = 100'),
}
"""Suites that are the tiny one but for one thing."""

PLUGINS = {
    "ghost": """
        [gebm_bench.datasets]
        ghost-data = ghost.missing:load
        [gebm_bench.samplers]
        ghost-sampler = ghost.missing:Sampler
    """,
    "brittle": """
        [gebm_bench.datasets]
        brittle-data = brittle:load
        [gebm_bench.models]
        brittle-model = brittle:Model
    """,
    "strange": """
        [gebm_bench.datasets]
        array = strange:array
        [gebm_bench.models]
        no-model = strange:Nothing
        half-model = strange:Half
        [gebm_bench.samplers]
        no-sampler = strange:nothing
        [gebm_bench.metrics]
        number = strange:number
    """,
}
"""Entry points of packages whose module is missing or cannot be imported, or whose components are not what they should be."""

STRANGE = """
from bench.core.model import Model

number = 3
array = lambda inputs: [0.0]
nothing = lambda step_size: None


class Nothing: ...


class Half(Model): ...
"""

CASES = [
    ("nosuch", 2, "No such command 'nosuch'"),
    ("refit nothing --steps 0", 2, "'--steps': 0 is not in the range"),
    ("refit digits/nothing", 1, "no store at runs"),
    ("refit nothing.safetensors", 2, "no file nothing.safetensors"),
    ("refit no_such_module:make", 2, "No module named 'no_such_module'"),
    ("refit math:pi", 2, "math:pi: TypeError"),
    ("refit collections:Counter", 2, "makes a Counter; it must make a torch.nn.Module"),
    ("refit digits/nothing --suite density", 2, "suite 'density' is of kind density"),
    ("run extra", 2, "unexpected extra argument"),
    ("plan --suite imges", 2, "did you mean 'images'?"),
    ("plan --suite IMAGES", 2, "no suite 'IMAGES'; did you mean 'images'?"),
    ("plan --model GEBM", 2, "no model 'GEBM'; did you mean 'gebm'?"),
    ("run --set Learning_Rate=1", 2, "unknown key; did you mean 'training.learning_rate'?"),
    ("plan --suite nosuch.toml", 2, "no suite file 'nosuch.toml'"),
    ("plan --suite broken.toml", 2, "broken.toml: not valid TOML"),
    ("plan --suite binary.toml", 2, "binary.toml: cannot be read"),
    ("plan --suite types.toml", 2, "types.toml: profiles.quick.seeds: 'zero' is not a list of seeds; write whole numbers from 0"),
    ("plan --suite negative.toml", 2, "must be a whole number from 1 to 1,000,000,000, got -3 (line 18)"),
    ("plan --suite unknown.toml", 2, "penaltyevery: unknown key; did you mean 'penalty_every'?"),
    ("plan --suite step.toml", 2, "step_size: must be a number in (0, 1000000], got 1000000000.0 (line 36)"),
    ("plan --suite draws.toml", 2, "partition_samples: must be a whole number from 4 to 1,000,000,000"),
    ("plan --suite threads.toml", 2, "threads: must be a whole number from 1 to 4,096, got 1000000"),
    ("plan --suite sampler.toml", 2, "no sampler 'ulla'; did you mean 'ula'?"),
    ("plan --suite family.toml", 2, "no network 'mpl'; did you mean 'mlp'?"),
    ("plan --suite kind.toml", 2, "no kind of suite 'image'; did you mean 'images'?"),
    ("plan --suite tiny.toml --profile paper", 2, "has no profile 'paper'; it has: quick"),
    ("plan --profile big", 2, "suite 'images' has no profile 'big'; it has: quick, "),
    ("plan --suite tiny.toml --model kde", 2, "none of kde can be fitted to digits"),
    ("plan --dataset digts", 2, "did you mean 'digits'?"),
    ("plan --model gemb", 2, "did you mean 'gebm'?"),
    ("plan --suite density --dataset redwine@x", 2, "a split is a whole number"),
    ("plan --suite density --dataset excel:table.xls", 2, "no kind of file 'excel'"),
    ("plan --suite density --dataset csv:nowhere.csv", 2, "no file"),
    ("plan --suite density --dataset csv:words.csv", 2, "is not a number"),
    ("plan --suite density --dataset csv:nothing.csv", 2, "nothing.csv is empty"),
    ("plan --suite density --dataset npy:words.csv", 2, "is not a .npy file"),
    ("plan --seeds 0,x", 2, "write whole numbers from 0"),
    ("plan --seeds -1", 2, "write whole numbers from 0"),
    ("plan --seeds 99999999999999", 2, "write whole numbers from 0 to 1,000,000,000"),
    ("plan --seeds 4-0", 2, "--seeds: '4-0' is not a list of seeds"),
    ("plan --seeds 0-", 2, "--seeds: '0-' is not a list of seeds"),
    ("plan --seeds 0-999999", 2, "--seeds: '0-999999' is more than 10,000 seeds"),
    ("plan --set training.penalty", 2, "--set: 'training.penalty' is no setting; write KEY=VALUE"),
    ("plan --set =1", 2, "--set: '=1' is no setting"),
    ("plan --set training.penalty=", 2, "is no setting; write KEY=VALUE"),
    ("plan --set training..penalty=1", 2, "is no setting; write KEY=VALUE"),
    ("plan --set training.ema=0 --set training.ema=0.5", 2, "--set: training.ema is there twice"),
    ("plan --set training.penlty=1", 2, "cannot set training.penlty: unknown key; did you mean 'penalty'?"),
    ("plan --set learning_rate=1e-4", 2, "unknown key; did you mean 'training.learning_rate'?"),
    ("run --set training.base_steps=many", 2, 'training.base_steps: must be a whole number from 1 to 1,000,000,000, got "many"'),
    ("run --set training.base_steps=1e3", 2, "training.base_steps: must be a whole number from 1 to 1,000,000,000, got 1000.0"),
    ("run --set training.decay=linaer", 2, 'must be one of "constant", "linear", "cosine", "exponential", got "linaer"'),
    ("run --set models=gebm", 2, "models is chosen with --model, not set"),
    ("run --sweep seeds=1,2", 2, "seeds is chosen with --seeds, not set"),
    ("run --sweep training.penalty", 2, "--sweep: 'training.penalty' is no setting"),
    ("run --sweep training.penalty=1,1", 2, "--sweep: training.penalty has a value twice in '1,1'"),
    ("run --sweep training.penalty=1,x", 2, 'training.penalty: must be a number from 0 to 1,000,000, got "x"'),
    ("run --sweep evaluation.samples=10,20", 2, "evaluation.samples makes no other run; set it"),
    ("plan --suite density --dataset known-density-8 --set overrides.redwine.refit.step=3", 2, "unknown key; did you mean 'steps'?"),
    ("suite chek", 2, "No such command 'chek'"),
    ("suite init", 2, "Missing argument 'NAME'"),
    ("suite init a/b", 2, "'a/b' is no name of letters, digits, dots, dashes and underscores"),
    ("suite init tiny", 2, "tiny.toml is there already; choose another name"),
    ("suite init mine --kind image", 2, "'images', 'chains', 'density'"),
    ("suite check nosuch", 2, "no suite 'nosuch'"),
    ("suite check nosuch.toml", 2, "no suite file 'nosuch.toml'"),
    ("suite check binary.toml", 2, "binary.toml: cannot be read"),
    ("plan --jobs-per-device 0", 2, "'--jobs-per-device': 0 is not in the range"),
    ("plan --jobs 0", 2, "'--jobs': 0 is not in the range x>=1; see bench plan --help"),
    ("plan --device tpu", 2, "'auto', 'cpu', 'cuda'"),
    ("plan --suite tiny.toml --store words.csv", 1, "the store words.csv is not a folder"),
    ("plan --suite tiny.toml --store old", 1, "the store old has schema 1"),
    ("run --suite tiny.toml --store words.csv", 1, "the store words.csv is not a folder"),
    ("run --suite tiny.toml --store words.csv/inside", 1, "cannot write to the store words.csv/inside"),
    ("run --suite tiny.toml --store /proc/nowhere", 1, "cannot write to the store /proc/nowhere"),
    ("run --suite tiny.toml --store old", 1, "the store old has schema 1"),
    ("run --tag a/b", 2, "--tag: 'a/b'"),
    ("run --max-minutes 0", 2, "--max-minutes"),
    ("run --seeds", 2, "'--seeds' requires an argument"),
    *((f"{command} --store {store}", 1, message) for command in ("report", "status", "claims", "export scores.csv") for store, message in (
        ("nowhere", "no store at nowhere"), ("words.csv", "no store at words.csv"), ("old", "the store old has schema 1"))),
    ("status --store blank --dataset digits", 2, "no run of 'digits' here; there are: none"),
    ("report --store blank --model gebm", 2, "no model 'gebm' in these runs; there are: none"),
    ("claims --claims nowhere.toml", 2, "nowhere.toml: cannot be read"),
    ("claims --claims empty", 2, "empty: cannot be read"),
    ("claims --claims claims.toml", 2, "claims.toml: claim.0"),
    ("compare nowhere old", 1, "no store at nowhere"),
    ("merge --into somewhere", 2, "Missing argument 'STORE...'"),
    ("merge nowhere", 2, "Missing option '--into'"),
    ("merge nowhere --into somewhere", 1, "no store at nowhere"),
    ("merge old --into somewhere", 1, "the store old has schema 1"),
    ("sync empty old", 1, "no store at empty"),
    ("compare old@what=3 old", 2, "write FOLDER, or FOLDER@WHAT=NAME"),
    ("compare blank@tag=none blank", 2, "no runs tagged 'none' in blank"),
    *((f"{command} --store listed --suite nosuch", 2, "no runs of suite 'nosuch', profile 'any' here; there are: tiny (quick)")
      for command in ("report", "claims", "export scores.csv")),
    ("export empty", 2, "'empty' is a directory"),
    ("export words.csv --to tensorboard", 2, "leave out --curves, and name a folder"),
    ("export scores.csv --run x", 2, "--run is for --curves and --to"),
    ("export out --to excel", 2, "'tensorboard', 'wandb'"),
    ("show a/b/c", 1, "no store at runs"),
    ("show", 2, "Missing argument 'RUN'"),
    ("sample a/b/c --out x.png", 1, "no store at runs"),
    ("sample a/b/c", 2, "Missing option '--out'"),
    ("sample a/b/c --out x.gif", 2, "end the name in .png, .npy or .npz"),
    ("sample a/b/c --out x.png --beta hot", 2, "--beta: 'hot' is no temperature; write calibrated, or a number"),
    ("sample a/b/c --out x.png --beta nan", 2, "--beta: 'nan' is no temperature"),
    ("publish a/b/c", 2, "Missing option '--to'"),
    ("publish a/b/c --to words.csv", 2, "'words.csv' is a file"),
    ("weights a/b/c out", 1, "no store at runs"),
    ("weights a/b/c out --store blank", 2, "no run 'a/b/c' in blank"),
    ("weights a/b/c out --shard big", 2, "--shard: 'big' is no size"),
    ("weights a/b/c words.csv", 2, "'words.csv' is a file"),
    ("list model", 2, "'models'"),
    ("data verify digts", 2, "did you mean 'digits'?"),
    ("data fetch digts", 2, "did you mean 'digits'?"),
    ("data fetch redwine --from nowhere", 2, "there is no nowhere"),
    ("data fetch redwine --accept-unverified", 2, "name them with --from PATH"),
    ("completion tcsh", 2, "'bash', 'zsh', 'fish'"),
    ("plan --suite ghost.toml", 2, "'ghost-sampler' of package ghost cannot be found: there is no module ghost.missing"),
    ("data verify ghost-data", 2, "'ghost-data' of package ghost cannot be found: there is no module ghost.missing"),
    ("plan --dataset brittle-data", 2, "'brittle-data' of package brittle cannot be imported: ModuleNotFoundError"),
    ("plan --model brittle-model", 2, "'brittle-model' of package brittle cannot be imported: ModuleNotFoundError"),
    ("plan --dataset array", 2, "dataset 'array' of package strange: its loader returned list, not a bench.data.Dataset"),
    ("plan --model no-model", 2, "'no-model' of package strange must be a class derived from bench.core.model.Model"),
    ("plan --model half-model", 2, "'half-model' of package strange has no fit, modules"),
    ("plan --suite nothing.toml", 2, "sampler 'no-sampler' makes a NoneType; it must make a gebm.samplers.kernel.Sampler"),
    ("plan --suite number.toml", 2, "evaluation.metrics: 'number' of package strange is 3; it must be a class or a function"),
]  # fmt: skip


def install(site: Path, name: str, entry_points: str) -> None:
    """Make a package known by its entry points alone."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(dedent(entry_points))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can be wrong in it."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "old" / "runs" / "digits").mkdir(parents=True)
    Store(folder / "blank").create()
    listed = {"suite": "tiny", "profile": "quick", "kind": "images", "runs": []}
    write_manifest(Store(folder / "listed").create(), listed)
    texts = {"tiny.toml": TINY, "broken.toml": "name = ", "claims.toml": "[[claim]]\nid = 3\n", "nothing.csv": ""}
    texts |= {f"{name}.toml": TINY.replace(*change) for name, change in SUITES.items()}
    for name, text in (texts | {"words.csv": "a,b\nx,y\n"}).items():
        (folder / name).write_text(text)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name, entry_points in PLUGINS.items():
        install(folder / "site", name, entry_points)
    for name, text in {"brittle": "import no_such_library\n", "strange": STRANGE}.items():
        (folder / "site" / f"{name}.py").write_text(text)
    return folder


@contextmanager
def installed(site: Path) -> Iterator[None]:
    """Let the packages of a folder be found."""
    sys.path.append(str(site))
    registry.installed.cache_clear()
    registry.entries.cache_clear()
    try:
        yield
    finally:
        sys.path.remove(str(site))
        registry.installed.cache_clear()
        registry.entries.cache_clear()


def one_line(command: str) -> tuple[int, str]:
    """Run a command that must end in one line; return its exit code and that line."""
    result = CliRunner().invoke(main, command.split())
    assert isinstance(result.exception, SystemExit), repr(result.exception)  # not an error that escaped
    assert len(result.output.splitlines()) == 1, result.output
    assert result.output.startswith("bench: ")
    assert not HOLE.search(result.output.strip()), result.output
    return result.exit_code, result.output


@pytest.mark.parametrize(("command", "code", "message"), CASES, ids=[command for command, _, _ in CASES])
def test_wrong_input_ends_in_one_line(
    command: str, code: int, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with installed(folder / "site"):
        found, line = one_line(command)
    assert found == code
    assert message in line


def test_a_plugin_with_the_name_of_a_built_in_component_is_refused(tmp_path: Path) -> None:
    install(tmp_path, "shadow", "[gebm_bench.models]\ngebm = shadow:Model\n")
    with installed(tmp_path):
        code, line = one_line("list models")
    assert code == 2
    assert "package shadow registers 'gebm' among models, a name that the harness has" in line


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (requests.ConnectionError("no route"), "cannot be reached"),
        (OSError(28, "No space left on device"), "make room"),
    ],
)
def test_a_failed_download_and_a_full_disk_are_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    monkeypatch.setattr(requests, "get", broken)
    code, line = one_line("data fetch redwine")
    assert code == 1
    assert message in line
