"""What a suite's file may say, written out from the types behind it: a commented file to begin with, a page of reference, a JSON schema."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from bench.components import registry
from bench.components.schema import REQUIRED, Key, fields, inner, is_table, shown, words
from bench.core.suite import EXAMPLES, KINDS, Profile, Suite, find_suite, kind_of, load_suite
from gebm.checks import Range

__all__ = ["commented_suite", "json_schema", "reference"]

INTRODUCTION = """\
# Suite files

A suite is a TOML file that says what is compared, on what data, and with which settings. `bench suite init NAME` writes one with every
key and its default, `bench suite check FILE` lists everything that is wrong with one, and `bench suite schema` prints a JSON schema for
editors. `bench run --suite FILE --profile NAME` runs one of its profiles. `--set` and `--sweep` change settings for one command, by
dotted keys below a profile, such as `--set training.learning_rate=1e-4`.

This page is written by `bench suite reference`.
"""
FAMILY = Key(str, REQUIRED, "name of the component whose settings stand beside it.")


class Tables(NamedTuple):
    """What tables a key holds: one, several in a list, or several by names; each of a type, or of a component's own keys (None)."""

    shape: Literal["one", "list", "named", "component"]
    kind: Any = None


def tables(annotation: Any) -> Tables | None:
    """Return what tables may stand at a key; None for a plain value."""
    for each in inner(annotation):
        arguments = [found for argument in get_args(each) for found in inner(argument)]
        if is_table(each):
            return Tables("one", each)
        if get_origin(each) is tuple and is_table(arguments[0]):
            return Tables("list", arguments[0])
        if isinstance(get_origin(each), type) and issubclass(get_origin(each), Mapping):
            if is_table(arguments[-1]):
                return Tables("named", arguments[-1])
            return Tables("component") if arguments[-1] is Any else None
    return None


def commented_suite(name: str, kind: str) -> str:
    """Return a suite's file that can be run: as the shipped suite of the kind, with what its keys mean and with all others as comments."""
    example = tomllib.loads(find_suite(EXAMPLES[kind]).read_text(encoding="utf-8"))
    profile_name, values = next(iter(example["profiles"].items()))
    del values["minutes_per_run"]
    profile = load_suite(EXAMPLES[kind]).profiles[profile_name]
    settings = {
        each.key.rpartition(".")[0]: fields(registry.get(each.kind, each.name).load())
        for each in profile.components()
        if each.settings is not None
    }
    head = fields(Suite[Profile])
    plain = {key: head[key] for key in ("name", "summary", "base_seed", "kind")}
    lines = [
        f"# A suite of kind {kind}. A line that begins with # and a key is a default: take the # away to change it.",
        "",
    ]
    lines += _entries(plain, {"name": name, "summary": "what this suite compares", "kind": kind})
    lines += ["", f"# One size of the suite, called {profile_name}; there may be others, by any names."]
    lines += _table(f"profiles.{profile_name}", fields(kind_of(kind).PROFILE), values, settings)
    text = "\n".join(lines) + "\n"
    model = next(name for name in values["models"] if registry.get("models", name).facts.get("objective"))
    return text.replace('#model = "…"', f'#model = "{model}"').replace('#set = "…"', "#set = { refit.steps = 2000 }")


def _table(
    header: str,
    known: Mapping[str, Key],
    values: Mapping[str, Any] | None,
    settings: Mapping[str, Mapping[str, Key]],
    brief: bool = False,
) -> Iterator[str]:
    """Yield a table and the tables below it; one without values is a comment, a brief one has nothing but its values."""
    off, given = "#" * (values is None), values or {}
    yield f"{off}[{header}]"
    below = {name: found for name, key in known.items() if (found := tables(key.annotation))}
    component = {
        name: settings.get(f"{header}.{name}".split(".", 2)[-1]) if found.shape == "component" else None
        for name, found in below.items()
    }
    below = {name: found for name, found in below.items() if found.shape != "component" or component[name]}
    yield from _entries({name: key for name, key in known.items() if name not in below}, given, off, brief)
    for name, found in below.items():
        where, value = f"{header}.{name}", given.get(name)
        inside = component[name] or fields(found.kind)
        inside = {"family": FAMILY, **inside} if found.shape == "component" and "family" in (value or {}) else inside
        parts: list[tuple[str, Any]] = [(where, value)]
        if found.shape == "list":
            parts = [(f"[{where}]", each) for each in value or [None]]
        elif found.shape == "named":
            parts = [(f"{where}.{each}", part) for each, part in (value or {"NAME": None}).items()]
        if not brief:
            yield from ("", *_comment(known[name].meaning))
        for number, (place, part) in enumerate(parts):
            yield from [""] * bool(number)
            yield from _table(place, inside, part, settings, brief=number > 0)


def _entries(known: Mapping[str, Key], values: Mapping[str, Any], off: str = "", brief: bool = False) -> Iterator[str]:
    """Yield keys with what they mean; those without a value have their default, commented out."""
    for name, key in known.items():
        if not brief:
            without = "" if name in values or key.default is not None else f" {name} is left out by default."
            yield from _comment(f"{key.meaning} {_sentence(words(key.annotation))}.{without}")
        if name in values:
            yield f"{off}{name} = {shown(values[name])}"
        elif not brief and key.default is not None:
            yield f"#{name} = {shown('…' if key.default is REQUIRED else key.default)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(_sentence(text.strip()), 110, break_on_hyphens=False)]


def _sentence(text: str) -> str:
    """Return a text as a sentence begins, unless it begins with a symbol."""
    return text if len(text.partition(" ")[0]) == 1 else text[:1].upper() + text[1:]


def reference() -> str:
    """Return the page of reference: every table of every kind of suite, then the settings of networks and samplers."""
    seen: dict[Any, str] = {}
    lines = [INTRODUCTION, "## The file\n", *_rows(fields(Suite[Profile]), {})]
    for kind in KINDS:
        lines += [f"## Profiles of kind {kind}\n", *_sections(kind_of(kind).PROFILE, "profiles.NAME", kind, seen)]
    for title, component in (("Networks", "networks"), ("Samplers", "samplers")):
        lines.append(f"## {title}\n")
        for name, entry in registry.entries(component).items():
            if not entry.origin:
                lines += [f"### {name}\n", f"{_sentence(entry.summary)}.\n", *_rows(fields(entry.load()), {})]
    return "\n".join(lines)


def _sections(kind: Any, where: str, suite_kind: str, seen: dict[Any, str]) -> list[str]:
    """Return a table's section and those of the tables below it; one that has been described is named."""
    seen[kind] = f"`[{where}]` of kind {suite_kind}"
    known, below, notes = fields(kind), [], {}
    for name, key in known.items():
        found = tables(key.annotation)
        inside = f"{where}.{name}" + ".NAME" * (found is not None and found.shape == "named")
        if found is None or found.shape == "component":
            continue
        notes[name] = {"one": "a table", "list": "a list of tables", "named": "tables by names"}[found.shape]
        notes[name] += f", as {seen[found.kind]}" if found.kind in seen else f": `[{inside}]`"
        if found.kind not in seen:
            below += [f"### {suite_kind}: `[{inside}]`\n", *_sections(found.kind, inside, suite_kind, seen)]
    return [*_rows(known, notes), *below]


def _rows(known: Mapping[str, Key], notes: Mapping[str, str]) -> list[str]:
    """Return the keys of a table as rows of Markdown."""
    if not known:
        return ["It has no settings.\n"]
    rows = [
        f"| `{name}` | {_cell(notes.get(name) or words(key.annotation))} | {_default(key.default)} | {_cell(_sentence(key.meaning))} |"
        for name, key in known.items()
    ]
    return ["| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows, ""]


def _default(value: Any) -> str:
    if value is REQUIRED:
        return "required"
    plain = value is not None and not is_table(type(value))
    return f"`{_cell(shown(value))}`" if plain else "left out" if value is None else "its own defaults"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


class _Schema(GenerateJsonSchema):
    """A validator of ours takes what its own words say, which a schema leaves to it."""

    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:  # noqa: ARG002
        return {}


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of suite files, with what every key means."""
    models: Sequence[Any] = [Suite[kind_of(kind).PROFILE] for kind in KINDS]  # type: ignore[misc]
    places, schema = models_json_schema([(each, "validation") for each in models], schema_generator=_Schema)
    described = {frozenset(fields(each)): each for each in _every_table(models)}
    for definition in schema["$defs"].values():
        for key, about in fields(described.get(frozenset(definition["properties"]))).items():
            own = definition["properties"][key]
            own["description"] = f"{_sentence(about.meaning)} {_sentence(words(about.annotation))}.".strip()
            for bounds in (each for each in getattr(about.annotation, "__metadata__", ()) if isinstance(each, Range)):
                own["exclusiveMinimum" if bounds.excluded == "low" else "minimum"] = bounds.low
                own["exclusiveMaximum" if bounds.excluded == "high" else "maximum"] = bounds.high
    of_kind = [places[model, "validation"] for model in models]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A suite of GEBM Bench",
        "type": "object",
        "properties": {"kind": {"enum": list(KINDS), "default": "images"}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"] * (kind != "images")}, "then": then}
            for kind, then in zip(KINDS, of_kind, strict=True)
        ],
        **schema,
    }


def _every_table(kinds: Sequence[Any]) -> Iterator[Any]:
    for kind in kinds:
        yield kind
        yield from _every_table(
            [found.kind for key in fields(kind).values() if (found := tables(key.annotation)) and found.kind]
        )
