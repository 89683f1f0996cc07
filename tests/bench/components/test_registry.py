"""The registry: what is registered is found without being imported, here and in other packages; what cannot be used is one line."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.cli.list import summaries
from bench.components import registry
from bench.components.registry import KINDS, PluginError, UnknownNameError
from gebm.components import ComponentKind

Install = Callable[[str, ComponentKind, str, str], None]
GUEST = """
raise RuntimeError("imported")
from gebm.components import component

@component("{kind}", "guest", "one of the guests", seeded=True)
class Guest: ...

ASSIGNED = component("{kind}", "assigned", "a guest by assignment")(Guest)
"""


def read_anew() -> None:
    """Forget which packages are installed."""
    registry.installed.cache_clear()
    registry.entries.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package of one module and one entry point."""
    monkeypatch.syspath_prepend(tmp_path)
    packages = []

    def make(package: str, kind: ComponentKind, point: str, source: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gebm_bench.{kind}]\n{point}\n")
        if source:
            (tmp_path / f"{package}.py").write_text(source)
        packages.append(package)
        read_anew()

    yield make
    read_anew()
    for package in packages:
        sys.modules.pop(package, None)


def test_components_are_listed_without_importing_them() -> None:
    script = (
        "import sys; from bench.components import registry\n"
        "assert all(registry.entries(kind) for kind in registry.KINDS)\n"
        "print(*sorted(name for name in ('torch', 'numpy', 'gebm.objectives', 'gebm.samplers') if name in sys.modules))\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_what_is_read_of_our_files_is_what_the_whole_of_them_registers() -> None:
    root = Path(registry.__file__).parents[2]
    whole: dict[ComponentKind, dict[str, registry.Entry]] = {kind: {} for kind in KINDS}
    for path in (path for package in registry.BUILT_IN for path in (root / package).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for kind, entry in registry.registrations(ast.parse(path.read_text()), module):
            whole[kind][entry.name] = entry
    assert registry.built_in() == whole


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_component_says_what_it_is_and_can_be_loaded(kind: ComponentKind) -> None:
    for name, entry in registry.entries(kind).items():
        assert (entry.name, entry.origin) == (name, "")
        assert 10 < len(entry.summary) < 130
        assert "\n" not in entry.summary
        assert entry.load() is not None


def test_a_guest_without_the_decorator_is_described_by_its_docstring(install: Install) -> None:
    source = (
        'raise RuntimeError("imported")\n\ndef load(inputs):\n    """Weather of one town.\n\n    More of it.\n    """\n'
    )
    install("town", "datasets", "weather = town:load", source)
    install("bare", "datasets", "bare = bare:load", "def load(inputs): ...\n")
    assert registry.get("datasets", "weather").summary == "Weather of one town"
    assert registry.get("datasets", "bare").summary == "from bare"
    listed = summaries("datasets")
    assert listed["weather"] == "any      Weather of one town [town]"


def test_a_guest_that_its_package_hands_on_is_found_where_it_is_registered(install: Install, tmp_path: Path) -> None:
    install("lobby", "samplers", "guest = lobby:Visitor", "")
    rooms = tmp_path / "lobby" / "rooms"
    rooms.mkdir(parents=True)
    (tmp_path / "lobby" / "__init__.py").write_text("from .rooms import Guest as Visitor\n")
    (rooms / "__init__.py").write_text("from lobby.rooms.first import Guest\n")
    (rooms / "first.py").write_text(GUEST.format(kind="samplers"))
    registry.entries.cache_clear()
    guest = registry.get("samplers", "guest")
    assert (guest.summary, guest.target) == ("one of the guests", "lobby:Visitor")
    assert guest.seeded
    assert "lobby" not in sys.modules


@pytest.mark.parametrize("kind", KINDS)
def test_a_guest_of_each_kind_is_listed_with_its_package_and_not_imported(
    install: Install, kind: ComponentKind
) -> None:
    install("guesthouse", kind, "guest = guesthouse:Guest", GUEST.format(kind=kind))
    install("annexe", kind, "assigned = annexe:ASSIGNED", GUEST.format(kind=kind))
    guest, assigned = registry.get(kind, "guest"), registry.get(kind, "assigned")
    assert (guest.summary, guest.origin, guest.target) == ("one of the guests", "guesthouse", "guesthouse:Guest")
    assert guest.seeded
    assert (assigned.summary, assigned.origin) == ("a guest by assignment", "annexe")
    assert not {"guesthouse", "annexe"} & sys.modules.keys()


def test_a_guest_without_a_decorator_is_listed_by_its_package(install: Install) -> None:
    install("plain", "samplers", "plain = plain:Plain", "class Plain: ...\n")
    entry = registry.get("samplers", "plain")
    assert (entry.summary, entry.origin) == ("from plain", "plain")


def test_a_guest_may_not_take_a_name_that_is_taken(install: Install) -> None:
    install("usurper", "samplers", "ula = usurper:ULA", "class ULA: ...\n")
    message = "package usurper registers 'ula' among samplers, a name that the harness has; rename its entry point"
    with pytest.raises(PluginError) as caught:
        registry.entries("samplers")
    assert str(caught.value) == message
    assert "kale" in registry.entries("objectives")  # other kinds go on


def test_two_guests_of_one_name_are_named(install: Install) -> None:
    for package in ("first_guest", "second_guest"):
        install(package, "metrics", f"same = {package}:same", "def same(): ...\n")
    with pytest.raises(PluginError, match=r"(first|second)_guest registers 'same' .* that (first|second)_guest has"):
        registry.entries("metrics")


def test_a_guest_without_its_module_is_one_line(install: Install) -> None:
    install("ghost", "metrics", "absent = ghost.missing:absent", "")
    assert "absent" in registry.entries("metrics")  # listing goes on
    with pytest.raises(PluginError) as caught:
        registry.get("metrics", "absent")
    assert str(caught.value).startswith("'absent' of package ghost cannot be found: there is no module ghost.missing")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemError('two\\nlines')\n", "SystemError: two"),
        ("", "AttributeError"),
    ],
)
def test_a_guest_that_cannot_be_imported_is_one_line(install: Install, source: str, reason: str) -> None:
    install("brittle", "models", "absent = brittle:absent", source or "present = 1\n")
    with pytest.raises(PluginError) as caught:
        registry.get("models", "absent").load()
    message = str(caught.value)
    assert message.startswith("'absent' of package brittle cannot be imported: ")
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize("source", ["def absent(:\n", "@component('models', 'absent', 'broken')\nclass absent(:\n"])
def test_a_guest_that_is_no_python_is_listed_and_one_line_when_asked_for(install: Install, source: str) -> None:
    install("garbled", "models", "absent = garbled:absent", source)
    assert registry.entries("models")["absent"].summary == "from garbled"
    with pytest.raises(PluginError, match="'absent' of package garbled cannot be imported: SyntaxError") as caught:
        registry.get("models", "absent")
    assert "\n" not in str(caught.value)


def test_a_registration_must_be_literal(install: Install) -> None:
    install(
        "clever",
        "models",
        "made = clever:Made",
        '@component("models", "ma" + name, "a name put together")\nclass Made: ...\n',
    )
    with pytest.raises(PluginError, match=r"'made' of package clever cannot be listed: .* must be literals") as caught:
        registry.entries("models")
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no objective 'kael'; did you mean 'kale'\?"):
        registry.get("objectives", "kael")
