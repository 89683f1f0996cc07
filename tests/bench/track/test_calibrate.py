"""What a calibration says of a machine whose noise is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.track import calibrate as calibrate_module
from bench.track.calibrate import calibrate, resampled_verdicts
from bench.track.decide import Design, Verdict

from .conftest import track, write_library


def test_a_calm_machine_has_no_false_alarms_and_sees_ten_percent() -> None:
    """Spread 4.3 % a pair, that of processes with 3 % each."""
    found = calibrate(np.random.default_rng(0).normal(0, 0.043, 24).tolist(), Design(), benchmarks=1)
    assert found.false_alarms[0] == 0
    assert found.false_alarms[0] <= found.false_alarms[2] <= 0.05
    assert found.fine > 0.9
    assert 0.06 <= found.detectable[0] <= 0.12
    assert found.detectable[1] <= found.detectable[0] <= found.detectable[2]
    assert found.spread == pytest.approx(0.043, rel=0.4)


def test_a_noisy_machine_is_told_that_it_sees_little() -> None:
    found = calibrate(np.random.default_rng(0).normal(0, 0.3, 16).tolist(), Design(), benchmarks=4)
    assert found.false_alarms[0] <= 0.02
    assert found.fine < 0.5
    assert found.detectable[0] >= 0.3


def test_sides_are_exchanged_so_that_a_drift_is_no_effect() -> None:
    """All pairs on one side of 0. "Regressed" takes eight of the same sign at the first look: 0.8 of 200 checks are expected to."""
    verdicts = resampled_verdicts(np.full(8, 0.2), 0.0, 200, Design(), 1, np.random.default_rng(0))
    assert np.sum(verdicts == Verdict.REGRESSED) <= 8


def test_too_few_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 pairs"):
        calibrate([0.1, 0.2], Design(), 1)


def test_in_real_processes(naps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate_module, "OUTER", 5)
    write_library(tmp_path)
    arguments = ["calibrate", "--repo", tmp_path, "--benchmarks", naps, "--threads", 1]
    said = track(*arguments, "--pairs", 8)
    assert said.exit_code == 0, said.output
    assert "nap: a pair's log-ratio has a standard deviation of" in said.output
    assert "false alarms" in said.output
    early = track(*arguments, "--minutes", "0.0001")
    assert early.exit_code == 3
    assert "too few pairs" in early.output
