"""What is recorded of where a run was made."""

from __future__ import annotations

import pytest

from bench.core.surroundings import cluster_job

NODE = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"LOADEDMODULES": "cuda/12"}, {}),
        (NODE, {"id": "17", "node": "n1", "modules": []}),
        (
            NODE | {"SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "2", "LOADEDMODULES": "gcc/12:cuda/12"},
            {"id": "15_2", "node": "n1", "modules": ["gcc/12", "cuda/12"]},
        ),
    ],
)
def test_a_job_of_a_cluster_is_recorded_with_its_node_and_modules(
    variables: dict[str, str], expected: dict[str, object]
) -> None:
    assert cluster_job(variables) == expected
