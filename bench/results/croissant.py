"""Metadata of an exported table as JSON-LD in the vocabulary of Croissant 1.0, which data catalogues and search engines read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import __version__
from bench.files import sha256_file

__all__ = ["metadata"]

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "recordSet": "cr:recordSet",
    "source": "cr:source",
}
TYPES = {"text": "sc:Text", "number": "sc:Float", "integer": "sc:Integer", "true or false": "sc:Boolean"}
FORMS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}


def metadata(path: Path, description: str, columns: Mapping[str, Mapping[str, str]]) -> str:
    """Return the metadata of a table that was written to `path`: its hash, and type and meaning of every column.

    Arguments:
        path: a file of .csv or .parquet.
        description: what the table is.
        columns: `type` (see `TYPES`; "or missing" may follow) and `meaning` by name.
    """
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"rows/{name}",
            "name": name,
            "description": about["meaning"],
            "dataType": TYPES[about["type"].removesuffix(" or missing")],
            "source": {"fileObject": {"@id": path.name}, "extract": {"column": name}},
        }
        for name, about in columns.items()
    ]
    file = {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "encodingFormat": FORMS[path.suffix],
        "sha256": sha256_file(path),
    }
    page: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": path.stem,
        "description": f"{description} Written by GEBM Bench {__version__}.",
        "distribution": [file],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields}],
    }
    return json.dumps(page, indent=1, ensure_ascii=False) + "\n"
