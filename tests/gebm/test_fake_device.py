"""Training, chains and log Z on a fake device, in a process of its own: a backend that is registered stays, and its threads do not fork."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

CASES = Path(__file__).with_name("fake_device.py")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no private backend in Python",
)
def test_nothing_is_left_on_the_host() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", CASES]
    alone = os.environ | {"CUDA_VISIBLE_DEVICES": ""}  # beside a real GPU the fake one cannot be registered
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, env=alone)
    assert ended.returncode == 0, ended.stdout + ended.stderr
