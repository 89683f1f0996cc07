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

__all__ = ["claim_files", "load_claims"]


def load_claims(own: Iterable[Path] = ()) -> tuple[Claim, ...]:
    """All claims: shipped ones first, then those of installed packages, then the user's own files.

    Raises:
        ClaimError: naming the file, the key and what is allowed.
    """
    found: dict[str, tuple[Claim, Path]] = {}
    for path in (*claim_files(), *own):
        for claim in read(path):
            if claim.id in found:
                raise ClaimError(f"{path}: the id '{claim.id}' is taken by {found[claim.id][1]}")
            found[claim.id] = (claim, path)
    return tuple(claim for claim, _ in found.values())


def claim_files() -> list[Path]:
    """The files that are there without being named.

    Raises:
        ClaimError: for an entry point that is no path.
    """
    files = sorted(Path(__file__).parent.glob("*.toml"))
    for point in entry_points(group="gebm_bench.claims"):
        try:
            files.append(Path(point.load()))
        except (ImportError, AttributeError, TypeError) as error:
            raise ClaimError(
                f"entry point '{point.name}' of gebm_bench.claims is no path of a file: {error}"
            ) from error
    return files


def read(path: Path) -> tuple[Claim, ...]:
    """The claims of one file.

    Raises:
        ClaimError: naming the file, the key and what is allowed.
    """
    try:
        return Claims.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).claim
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ClaimError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ClaimError(explain(path, error, Claims)) from error
