"""What makes a result stale: the code it uses, and nothing else. Each law is tried on a copy of this very source."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.components import digests, registry
from bench.components.digests import Stage, changes, difference, dumped, replaced, stage
from bench.core.store import Store
from bench.core.suite import Suite

from ..conftest import do, plan_one

ROOT = Path(registry.__file__).parents[2]
GEBM = ["bench.images.models:LatentModel", "gebm.networks.mlp:MLP", "gebm.objectives:Kale"]
GAN = ["bench.images.models:LatentModel", "gebm.networks.mlp:MLP", "baselines.gan:Hinge"]
FLOW = ["bench.densities.models:FlowModel", "baselines.flows.nflows_backend:nflows_network"]
ULA = ["bench.images.evaluation:read_chain", "bench.images.models:LatentModel.gebm", "gebm.samplers:ULA"]
MALA = [*ULA[:2], "gebm.samplers:MALA"]
ALL = {"gebm": GEBM, "gan": GAN, "flow": FLOW, "ula": ULA, "mala": MALA}

Edit = Callable[[str, str, str], None]


def forget() -> None:
    """Look at the source anew, as another process would."""
    for cached in (digests._stage, digests.read, digests.library_version, digests.text, digests.text_digest):
        cached.cache_clear()


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edit]:
    """Edit a file of a copy of the source, in which digests are taken from then on: replace one text by another, or append."""
    for package in ("gebm", "baselines", "bench"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))

    def copied(module: str) -> Path | None:
        stem = tmp_path.joinpath(*module.split("."))
        return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)

    def change(name: str, old: str, new: str) -> None:
        path = tmp_path / name
        text = path.read_text()
        assert old in text, f"{name} has no {old!r} any more: try another edit of the same kind"
        path.write_text(text.replace(old, new, 1) if old else text + new)
        forget()

    forget()
    monkeypatch.setattr(digests, "source_file", copied)
    yield change
    forget()


@pytest.fixture(scope="module")
def before() -> dict[str, Stage]:
    """The present stage of everything."""
    forget()
    return {name: stage(roots) for name, roots in ALL.items()}


def changed(before: dict[str, Stage]) -> set[str]:
    """Whose code has changed."""
    return {name for name, then in before.items() if difference(then.to_json(), stage(then.roots))}


NOTHING = [
    ("gebm/training.py", '"""Take the energy steps of one round and its base step."""', '"""Step."""'),
    (
        "gebm/samplers/langevin.py",
        "current, gamma = state.position",
        "# a comment\n        current, gamma = state.position",
    ),
    (
        "gebm/training.py",
        "return losses | self.base_step()",
        "return (\n            losses\n            | self.base_step())",
    ),
    ("bench/images/models.py", "def fit(self, session: Session) -> None:", "def fit(self, session) -> None:"),
    (
        "gebm/samplers/langevin.py",
        "",
        '\n\n@component("samplers", "mine", "new")\nclass Mine(ULA):\n    step_size = 2\n',
    ),
    ("gebm/objectives.py", "", '\n\n@component("objectives", "mine", "new")\nclass Mine(Kale):\n    x = 1\n'),
    ("bench/metrics/samples.py", "", '\n\n@component("metrics", "mine", "new")\ndef mine(sets):\n    return 1.0\n'),
    (
        "bench/data/digits.py",
        "",
        '\n\n@component("datasets", "mine", "new", kind="image")\ndef mine(inputs):\n    return 1\n',
    ),
    ("bench/images/models.py", "class LatentModel(Model)", "class Mine:\n    x = 1\n\n\nclass LatentModel(Model)"),
    ("gebm/refit.py", "class EnergyRefit", "X = 1\n\n\nclass EnergyRefit"),
    ("gebm/frozen.py", "def ", "def _another():\n    ...\n\n\ndef "),
    ("bench/report/text.py", "", "\nX = 1\n"),
]


def test_words_comments_layout_additions_and_another_place_change_nothing(edit: Edit, before: dict[str, Stage]) -> None:
    for file, old, new in NOTHING:
        edit(file, old, new)
    assert changed(before) == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "whose"),
    [
        ("gebm/samplers/langevin.py", "invalid = not_a_number(proposed)", "invalid = ~not_a_number(proposed)", {"ula"}),
        (
            "gebm/objectives.py",
            "return -kale(energy_data, energy_base, self.log_partition)",
            "return kale(energy_data, energy_base, self.log_partition)",
            {"gebm"},
        ),
        ("baselines/gan.py", "class Hinge(Objective):", "class Hinge(Objective):\n    x = 1\n", {"gan"}),
        ("gebm/training.py", "self.done += 1", "self.done += 2", {"gebm", "gan"}),
        ("baselines/flows/maximum_likelihood.py", "self.done += 1", "self.done += 2", {"flow"}),
        ("gebm/networks/mlp.py", "nn.Tanh()", "nn.Sigmoid()", {"gebm", "gan"}),
    ],
)
def test_a_change_of_code_is_met_where_it_is_used(
    edit: Edit, before: dict[str, Stage], file: str, old: str, new: str, whose: set[str]
) -> None:
    edit(file, old, new)
    assert changed(before) == whose


def test_a_library_counts_where_it_is_reached(monkeypatch: pytest.MonkeyPatch, before: dict[str, Stage]) -> None:
    assert {"torch", "nflows"} <= before["flow"].versions.keys()
    assert "nflows" not in before["gan"].versions
    forget()
    real = digests.library_version
    monkeypatch.setattr(digests, "library_version", lambda name: "99" if name == "nflows" else real(name))
    assert changed(before) == {"flow"}
    assert changes(before["flow"].to_json()).startswith("nflows ")
    monkeypatch.undo()
    forget()


def test_a_foreign_loss_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "visitor").mkdir()
    (tmp_path / "visitor" / "__init__.py").write_text("")
    (tmp_path / "visitor" / "scale.py").write_text("SCALE = 1.0\n")
    loss = tmp_path / "visitor" / "loss.py"
    loss.write_text(
        '"""Mine."""\nfrom visitor.scale import SCALE\n\n\ndef loss(x):\n    """Loss."""\n    return SCALE * x\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    before = {"mine": stage(["visitor.loss:loss"])}
    assert set(before["mine"].code) == {"visitor.loss", "visitor.scale"}
    loss.write_text(loss.read_text().replace("Loss.", "The loss."))
    forget()
    assert changed(before) == set()
    (tmp_path / "visitor" / "scale.py").write_text("SCALE = 2.0\n")
    forget()
    assert changes(before["mine"].to_json()) == "visitor.scale changed"
    forget()


def test_code_counts_as_it_was_when_it_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited between plan and import it is other code, unless the words alone changed; edited afterwards it is the same."""
    (module := tmp_path / "late.py").write_text("def f():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    planned = stage(["late:f"])
    for number, words in [("1  # one", ""), ("2", "late changed")]:
        forget()
        sys.modules.pop("late", None)
        module.write_text(f"def f():\n    return {number}\n")
        assert replaced(planned) == words
        module.write_text(f"def f():\n    return {3 - int(number[0])}\n")
        assert replaced(planned) == words
    del sys.modules["late"]
    forget()


MODELS = {
    "base": "class Base:\n    size = 2\n    def sample(self):\n        return self.draw() * self.size * self.unit\n"
    "    def draw(self):\n        return 1\n    def density(self):\n        return 3\n"
    "    @property\n    def unit(self):\n        return 8\n    @unit.setter\n    def unit(self, value):\n        self.set = 9\n",
    "sub": "from host.base import Base\nclass Sub(Base):\n    def draw(self):\n        return self.scale\n"
    "    scale = 5\n    def other(self):\n        return 6\n",
}


@pytest.mark.parametrize(
    ("module", "old", "new", "whose"),
    [
        ("base", "return 3", "return 4", {"density"}),
        ("base", "return 1", "return 0", {"base", "sub"}),  # overridden, but `super` may ask for it
        ("base", "size = 2", "size = 3", {"base", "sub"}),
        ("base", "return 8", "return 9", {"base", "sub"}),  # of two definitions under one name, both count
        ("base", "self.set = 9", "self.set = 8", {"base", "sub"}),
        ("base", "self.draw() *", "2 * self.draw() *", {"base", "sub"}),
        ("sub", "return self.scale", "return -self.scale", {"sub"}),
        ("sub", "scale = 5", "scale = 6", {"sub"}),
        ("sub", "return 6", "return 7", set()),
    ],
)
def test_a_method_reaches_what_it_uses_of_its_own_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, old: str, new: str, whose: set[str]
) -> None:
    """Attributes of the class and methods of a subclass count, other methods do not."""
    (tmp_path / "host").mkdir()
    for name, text in ({"__init__": ""} | MODELS).items():
        (tmp_path / "host" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    forget()
    roots = {"base": "host.base:Base.sample", "sub": "host.sub:Sub.sample", "density": "host.base:Base.density"}
    before = {name: stage([root]) for name, root in roots.items()}
    assert old in MODELS[module]
    (tmp_path / "host" / f"{module}.py").write_text(MODELS[module].replace(old, new))
    forget()
    assert changed(before) == whose
    forget()


def test_stale_training_is_kept_until_it_is_asked_for(tiny: Suite, done: Store, edit: Edit) -> None:
    """An objective changed: its runs are marked and kept, others are hits; --retrain trains them again."""
    checkpoint = done.folder(plan_one(tiny, done).task.spec) / "checkpoint.safetensors"
    written = checkpoint.stat().st_mtime_ns
    edit("gebm/objectives.py", "return -kale(energy_data,", "return -1.0 * kale(energy_data,")
    found = plan_one(tiny, done).found
    assert (found.state, found.stale) == ("hit", "gebm.objectives changed")
    assert "training is stale (gebm.objectives changed) and kept; --retrain redoes it" in found.reason
    assert plan_one(tiny, done, "gan-ns").found.reason == ""
    assert do(plan_one(tiny, done)).state == "hit"
    assert checkpoint.stat().st_mtime_ns == written
    again = plan_one(tiny, done, retrain=True)
    assert (again.found.state, again.found.reason) == ("stale", "training: gebm.objectives changed")
    assert do(again).state == "done"
    assert checkpoint.stat().st_mtime_ns != written
    assert plan_one(tiny, done).found.reason == ""


def test_a_changed_sampler_has_its_chains_done_again_and_nothing_trained(tiny: Suite, done: Store, edit: Edit) -> None:
    folder = done.folder(plan_one(tiny, done).task.spec).path
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")}
    edit("gebm/samplers/langevin.py", "invalid = not_a_number(proposed)", "invalid = not_a_number(proposed) & True")
    planned = plan_one(tiny, done)
    assert planned.found.reason == "1 evaluation is stale (gebm.samplers.langevin changed)"
    assert do(planned).state == "done"
    rewritten = {path.name for path, then in times.items() if path.stat().st_mtime_ns != then}
    assert "checkpoint.safetensors" not in rewritten
    assert len([name for name in rewritten if len(name) == 21]) == 1  # one evaluation
    assert plan_one(tiny, done).found.state == "hit"


def test_every_python_has_the_same_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store is read under another Python than the one that filled it; from 3.12 on the tree of a function has one field more."""
    function = ast.parse("def f():\n pass").body[0]
    arguments = "posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[]"
    expected = f"FunctionDef(name='f', args=arguments({arguments}), body=[Pass()], decorator_list=[])"
    assert dumped(function) == expected
    fields = ast.FunctionDef._fields
    monkeypatch.setattr(ast.FunctionDef, "_fields", (*dict.fromkeys((*fields, "type_params")),))
    function.type_params = []  # type: ignore[attr-defined]
    assert dumped(function) == expected
