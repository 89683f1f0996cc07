"""Claims from TOML files: those that ship with the harness, those of installed packages, and the user's own.

A package names its file under the entry point group `gebm_bench.claims`: `mine = "my_package:CLAIMS"`, where `CLAIMS` is the file's path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import ValidationError

from bench.claims.model import Claim, ClaimError, Claims
from bench.core.suite import explain

__all__ = ["load_claims"]


def load_claims(own: Iterable[Path] = ()) -> tuple[Claim, ...]:
    """Read all claims: shipped ones first, then those of installed packages, then the user's own files.

    Raises:
        ClaimError: naming the file, the key and what is allowed, or the entry point that is no path.
    """
    found: dict[str, tuple[Claim, Path]] = {}
    for path in (*sorted(Path(__file__).parent.glob("*.toml")), *_installed(), *own):
        for claim in _read(path):
            if claim.id in found:
                raise ClaimError(f"{path}: the id '{claim.id}' is taken by {found[claim.id][1]}")
            found[claim.id] = (claim, path)
    return tuple(claim for claim, _ in found.values())


def _installed() -> list[Path]:
    files = []
    for point in entry_points(group="gebm_bench.claims"):
        try:
            files.append(Path(point.load()))
        except (ImportError, AttributeError, TypeError) as error:
            raise ClaimError(
                f"entry point '{point.name}' of gebm_bench.claims is no path of a file: {error}"
            ) from error
    return files


def _read(path: Path) -> tuple[Claim, ...]:
    try:
        return Claims.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).claim
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ClaimError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ClaimError(explain(path, error, Claims)) from error
