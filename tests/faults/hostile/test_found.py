"""What the campaign of hostile input found, each as small as it can be: once, every one ended in a traceback, or did not end."""

# ruff: noqa: E501  (tables of cases)
from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bench.claims import load_claims
from bench.claims.model import ClaimError
from bench.cli import main
from bench.core.manifests import manifests
from bench.core.plan import expected_seconds
from bench.core.run_folder import RunFolder, StoreError
from bench.core.session import Session
from bench.core.spec import RunSpec
from bench.core.store import Store
from bench.core.suite import SuiteError, load_suite
from bench.data import DatasetError, load_dataset
from bench.data.files import write_receipt
from bench.data.official_images import read_idx
from bench.data.old_pickle import read_frame
from bench.data.pictures import BROKEN, to_pixels
from bench.data.reading import members
from bench.files import CorruptFileError, parse_json, read_array, write_sealed
from bench.results.reading import read_run
from bench.track.history import read

MIB = 2**20
DEEP = "[" * 100_000


def refused(source: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(source, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a,b\n" + "1," * 5000, "," * 5000 + "\n1,2\n"], ids=["in a row", "in the names"])
def test_a_table_is_measured_before_it_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    refused(f"csv:{tmp_path}/t.csv", "has 5,001 columns; 4,096 are the most")


def test_an_npy_header_that_is_no_python(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'shape': (("
    (tmp_path / "t.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    refused(f"npy:{tmp_path}/t.npy", r"is not a \.npy file of numbers")


def test_a_parquet_file_of_equal_numbers_is_not_unpacked(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"a": np.ones(9_000_000), "b": np.ones(9_000_000)}), tmp_path / "t.parquet")
    refused(f"parquet:{tmp_path}/t.parquet", "would unpack to 144,000,000 or more")


def test_an_idx_file_is_not_unpacked_without_end(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1])) + gzip.compress(bytes(MIB)) * 130)
    with pytest.raises(DatasetError, match="too many to be trusted"):
        read_idx(path, 1)


def test_an_accepted_file_that_no_arithmetic_can_bear(tmp_path: Path) -> None:
    rows = np.full((200, 12), np.inf)
    np.savetxt(tmp_path / "winequality-red.csv", rows, "%.1f", ";", header="names", comments="")
    write_receipt(tmp_path / "winequality-red.csv", "a test", verified=False)
    with pytest.raises(
        DatasetError, match="dataset 'redwine' failed to load from files that are not the official ones"
    ):
        load_dataset("redwine", tmp_path)


def head(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE], ids=["file", "name", "pax"]
)
@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gz", "xz"])
def test_an_archive_is_not_unpacked_without_end(tmp_path: Path, kind: bytes, pack: Callable[[bytes], bytes]) -> None:
    (tmp_path / "t.tar").write_bytes(pack(head("cat/a.png", 2**32, kind)) + pack(bytes(MIB)) * 150)
    refused(f"tar:{tmp_path}/t.tar", "too many to be trusted")


def test_a_zip_archive_is_judged_by_its_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("cat/a.png", bytes(130 * MIB))
    refused(f"tar:{tmp_path}/t.zip", "would unpack to 136,314,880 or more")


def test_a_sparse_member_is_skipped(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("huge.png")
    said = {"GNU.sparse.map": f"{2**40},0", "GNU.sparse.size": str(2**40), "GNU.sparse.numblocks": "1"}
    entry.pax_headers = said
    (tmp_path / "t.tar").write_bytes(entry.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    with members(tmp_path / "t.tar") as found:
        assert [name for name, _ in found] == []


def test_names_that_lead_out_of_an_archive_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../cat/a.png"))
    refused(f"tar:{tmp_path}/t.tar", r"holds '../../cat/a.png', which leads out of the archive; pack it without '\.\.'")


def bmp(width: int, height: int) -> bytes:
    """The head of a bitmap, and no more."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


@pytest.mark.parametrize(("width", "height", "side"), [(6000, 6000, 0), (1, 1_000_000, 32)], ids=["large", "narrow"])
def test_an_image_is_measured_before_it_is_decoded(width: int, height: int, side: int) -> None:
    with pytest.raises(ValueError, match=r"pixels are more than|is too narrow for"):
        to_pixels(bmp(width, height), 3, side)


def test_postscript_is_no_image() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "eps")
    with pytest.raises(BROKEN):
        to_pixels(buffer.getvalue(), 3)


def test_pipes_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    for i in range(100):
        (tmp_path / f"{i}.ppm").write_bytes(b"P6 8 8 255 " + bytes([i]) * 192)
    os.mkfifo(tmp_path / "pipe.png")
    assert load_dataset(f"folder:{tmp_path}", None).splits["train"].shape == (80, 3, 8, 8)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    refused(f"folder:{tmp_path}", "No such file")


@pytest.mark.parametrize(
    "content",
    [b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", b"cnumpy\nndarray\n((I1000000\nI1000000000\ntS'f8'\ntR."],
    ids=["a long text", "a large array"],
)
def test_a_pickle_that_wants_more_memory_than_there_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pickle").write_bytes(content)
    with pytest.raises(DatasetError, match="is not a data frame of numbers"):
        read_frame(tmp_path / "x.pickle")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"name = {DEEP}", "more than 65,536 bytes"),
        (f"name = {DEEP[:50_000]}", "recursion"),
        (f"name = {'9' * 5000}", "4300 digits"),
    ],
    ids=["long", "deep", "digits"],
)
def test_a_suite_or_claims_that_tomllib_falls_over(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=f"not valid TOML: .*{message}"):
        load_suite(str(path))
    with pytest.raises(ClaimError, match=f"not valid TOML: .*{message}"):
        load_claims([path])


def test_a_record_nested_too_deeply_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(DEEP)
    with pytest.raises(StoreError, match="is corrupt"):
        RunFolder(tmp_path).read_json("status.json")


@pytest.mark.parametrize("length", [20, 300, 2000])
def test_an_archive_that_ends_too_early_is_no_dataset(tmp_path: Path, length: int) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        entry = tarfile.TarInfo("data/miniboone/data.npy")
        entry.size = 2**14
        archive.addfile(entry, io.BytesIO(np.random.default_rng(0).bytes(entry.size)))
    (tmp_path / "data.tar.gz").write_bytes(content.getvalue()[:length])
    command = ["data", "fetch", "miniboone", "--from", str(tmp_path / "data.tar.gz"), "--accept-unverified"]
    said = CliRunner().invoke(main, command, env={"BENCH_DATA": str(tmp_path / "root")})
    assert (type(said.exception), said.exit_code) == (SystemExit, 2)
    assert len(said.output.splitlines()) == 1


def test_texts_that_nobody_could_write_again_are_no_json() -> None:
    assert parse_json(b'["\\ud83d\\ude00", "\xed\x95\x9c"]') == ["\U0001f600", "\ud55c"]
    for half in (b'["\\ud800"]', b'{"\\uDC00x": 1}', b'["\xed\xa0\x80"]'):
        with pytest.raises(ValueError, match=r"hex escape|unicode code point"):
            parse_json(half)


@pytest.mark.parametrize("variable", ["BENCH_CACHE", "BENCH_DATA", "BENCH_WEIGHTS"])
def test_a_variable_may_name_a_link_to_itself(tmp_path: Path, variable: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    said = CliRunner().invoke(main, ["data", "verify", "digits"], env={variable: str(tmp_path / "loop")})
    assert isinstance(said.exception, SystemExit | None)


LISTED = {"dataset": "d", "model": "m", "seed": 0, "run": "d/m/1-s0", "identity": "1", "readouts": []}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "os"}, "is of a kind that there is not"),  # not a module
        ({"runs": {}}, "is not laid out as expected at runs"),
        ({"runs": [LISTED | {"run": "../../etc"}]}, "names a run that is outside the store"),
        ({"runs": [LISTED | {"run": "/etc"}]}, "names a run that is outside the store"),
        ({"runs": [LISTED | {"seed": "0"}]}, "at runs.0.seed"),
        ({"runs": [LISTED | {"changes": []}]}, "at runs.0.changes"),
    ],
)
def test_a_manifest_of_a_stranger(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    Store(tmp_path).create()
    sound = {"suite": "images", "profile": "quick", "kind": "images", "runs": [LISTED]}
    RunFolder(tmp_path / "suites").write_json("images-quick.json", sound)
    assert len(manifests(Store(tmp_path))) == 1
    RunFolder(tmp_path / "suites").write_json("images-quick.json", sound | change)
    result = CliRunner().invoke(main, ["report", "--store", str(tmp_path)])
    assert result.exit_code == 1
    assert "images-quick.json " in result.output
    assert said in result.output


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000, b"\xff"], ids=["a list", "deep", "no text"])
def test_a_status_may_vouch_for_anything(tmp_path: Path, synthetic: ModuleType, content: bytes) -> None:
    """What a status lists under a right hash is still no evaluation."""
    (run,) = synthetic.make(tmp_path, 1, 1, 1).root.glob("runs/*/*/*")
    folder = RunFolder(run)
    (run / "evals/x.json").write_bytes(content)
    synthetic.change(run / "status.json", files=folder.hashes("evals/x.json"))
    found = read_run(folder)
    assert (found.state, "x.json is corrupt" in found.reason) == ("failed", True)


@pytest.mark.parametrize("seconds", [["training"], {"training": "long"}, {"training": [1]}, 7], ids=str)
def test_a_status_whose_seconds_are_none(tmp_path: Path, seconds: Any) -> None:
    spec = RunSpec(kind="images", dataset="d", dataset_digest="", model="m", config={}, base_seed=0, threads=1, seed=1)
    folder = Store(tmp_path).folder(spec)
    folder.path.mkdir(parents=True)
    folder.write_json("status.json", {"seconds": seconds})
    profile: Any = SimpleNamespace(minutes_per_run=0.125)
    assert expected_seconds(Store(tmp_path), spec, profile) == 7.5
    (folder / "status.json").write_text(DEEP)
    assert expected_seconds(Store(tmp_path), spec, profile) == 7.5


@pytest.mark.parametrize(
    "change",
    [{"benchmarks": []}, {"benchmarks": {"nap": []}}, {"commit_time": "nan"}, {"benchmarks": {"nap": {"seconds": [[0.0]], "amount": 1, "unit": "u", "version": "v"}}}],
    ids=["a list", "no timing", "no time", "in no time"],
)  # fmt: skip
def test_a_recording_of_a_stranger_is_left_out(tmp_path: Path, change: dict[str, Any]) -> None:
    (tmp_path / "m").mkdir()
    sound = {"schema": 1, "machine": "m", "commit_time": 1.0, "benchmarks": {}}
    (tmp_path / "m" / "1.json").write_text(json.dumps(sound | change))
    frame, problems = read(tmp_path)
    assert len(frame) == 0
    assert ["left out" in problem for problem in problems] == [True]


def test_a_spec_is_of_the_run_that_its_folder_is_named_after(tmp_path: Path, synthetic: ModuleType) -> None:
    """Else settings of any type come with it, and whatever reads them fails."""
    (run,) = synthetic.make(tmp_path, 1, 1, 1).root.glob("runs/*/*/*")
    assert read_run(RunFolder(run)).state == "done"
    synthetic.change_listed(run, "spec.json", config={"training": {"base_steps": "many"}})
    found = read_run(RunFolder(run))
    assert (found.state, "of another run" in found.reason, found.files) == ("failed", True, {})
    said = CliRunner().invoke(main, ["report", "--store", str(tmp_path), "--out", str(tmp_path / "out")])
    assert isinstance(said.exception, SystemExit | None), repr(said.exception)


def test_a_list_that_has_a_readout_twice(tmp_path: Path, synthetic: ModuleType) -> None:
    store = synthetic.make(tmp_path, 1, 1, 1)
    (path,) = (store.root / "suites").glob("*.json")
    (run,) = json.loads(path.read_text())["runs"]
    synthetic.change(path, runs=[run | {"readouts": run["readouts"] * 2}])
    said = CliRunner().invoke(main, ["report", "--store", str(tmp_path), "--format", "csv"])
    assert (said.exit_code, len(said.stderr.splitlines())) == (1, 1)
    assert "is there twice" in said.stderr


OTHER = {"records": np.zeros(3, "f4,f4"), "objects": np.array([{}]), "text": np.array(["one"])}


@pytest.mark.parametrize("damage", ["header", "archive", "cut off", "records", "objects", "text"])
def test_an_array_of_a_stranger_is_no_array(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(3))
    assert read_array(path).tolist() == [0, 0, 0]
    sound = path.read_bytes()
    if damage == "archive":
        with path.open("wb") as file:
            np.savez(file, x=np.zeros(3))
    elif damage in OTHER:
        np.save(path, OTHER[damage])
    else:
        path.write_bytes(sound.replace(b"(3,), }", b"(3,), ((") if damage == "header" else sound[:-1])
    with pytest.raises(CorruptFileError, match=r"x\.npy is corrupt"):
        read_array(path)


@pytest.mark.parametrize("state", [{}, {"seconds": "long"}, {"phases": 1}, {"curve": None}], ids=str)
def test_a_state_that_lacks_something_is_not_continued(tmp_path: Path, state: dict[str, Any]) -> None:
    sound = {"code": "code", "phases": {}, "curve": []} | ({"seconds": 1.0} if state else {})
    buffer = io.BytesIO()
    torch.save(sound | state, buffer)
    write_sealed(tmp_path / "resume.pt", buffer.getvalue())
    told: list[dict[str, Any]] = []
    session = Session(tmp_path, "code", told.append, lambda: False)
    assert (session.phases, session.curve, session.seconds) == ({}, [], 0.0)
    assert "cannot be read" in told[0]["warning"]
