"""A Slurm that does nothing: it takes what is submitted, and says of its queue what a test wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMANDS = {
    "sinfo": "echo main; echo gpu",
    "scontrol": "echo 'MaxArraySize            = 4'",
    "squeue": 'test -e "$FOLDER/down" && { echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; }\n'
    'echo "$@" >> "$FOLDER/asked"; cat "$FOLDER/queue" 2>/dev/null || true',
    "scancel": 'echo "$@" >> "$FOLDER/cancelled"',
    "srun": "exit 1",
    "sbatch": """
case "$*" in
    *--mem=900G*) echo "allocation failure: Requested node configuration is not available" >&2; exit 1;;
    *--test-only*) exit 0;;
esac
if [ -e "$FOLDER/full" ]; then echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1; fi
number=$(($(ls "$FOLDER" | grep -c 'sh$') + 1))
cp "$1" "$FOLDER/$number.sh"
echo "Submitted batch job $number"
""",
}


@dataclass
class FakeSlurm:
    """What was submitted, and what the queue says."""

    folder: Path

    def submitted(self) -> list[dict[str, str]]:
        """The options of every submission in turn."""
        paths = sorted(self.folder.glob("*.sh"), key=lambda path: int(path.stem))
        return [dict(re.findall(r"^#SBATCH --([\w-]+)=?(.*)$", path.read_text(), re.MULTILINE)) for path in paths]

    def says(self, *rows: str) -> None:
        """Let the queue have these rows, in the order of `bench.executors.queue.FIELDS`."""
        (self.folder / "queue").write_text("".join(f"{row}|\n" for row in rows))

    def shows(self, state: str, *numbers: int) -> None:
        """Let the jobs of some submissions be in a state, on a node unless they wait."""
        rows = []
        for number, options in enumerate(self.submitted(), 1):
            last = int(re.sub(r".*-|%.*", "", options.get("array", "0-0%1")))
            for index in range(last + 1) if number in numbers else ():
                place = f"{number}|{index if 'array' in options else 'N/A'}"
                where = "|N/A|Resources|1" if state == "PENDING" else "n7|2026-11-26T10:00:00|None|0"
                rows.append(f"{options['job-name']}|{place}|{state}|{where}")
        self.says(*rows)

    def mark(self, name: str) -> None:
        """Let it be `down` (it does not answer) or `full` (it takes no more)."""
        (self.folder / name).touch()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The commands of a Slurm with partitions main and gpu, whose arrays have four tasks at most, first on the PATH."""
    (commands := tmp_path / "commands").mkdir()
    (folder := tmp_path / "fake").mkdir()
    for name, text in COMMANDS.items():
        (commands / name).write_text(f"#!/bin/sh\nFOLDER={folder}\n{text}\n")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(commands), prepend=":")
    return FakeSlurm(folder)
