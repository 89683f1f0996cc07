"""Published settings: every one builds, and single cells are those of the papers' tables."""

from __future__ import annotations

import pytest
import torch

from baselines.flows import PRESETS, build_flow, preset


@pytest.mark.parametrize("name", [name for name in PRESETS if "miniboone" in name or name == "gebm-realnvp"])
def test_builds(name: str) -> None:
    torch.manual_seed(0)
    flow = build_flow(preset(name).flow, 43).eval()
    with torch.no_grad():
        assert flow.log_prob(torch.randn(3, 43)).isfinite().all()


def test_every_dataset_of_the_protocol_has_every_published_flow() -> None:
    families = ("maf-5", "maf-10", "realnvp-5", "realnvp-10", "nsf-coupling", "nsf-ar")
    datasets = ("power", "gas", "hepmass", "miniboone", "bsds300")
    expected = {f"{family}-{dataset}" for family in families for dataset in datasets}
    assert expected | {"gebm-realnvp"} == set(PRESETS)
    assert all(PRESETS[name].dataset == name.rpartition("-")[2] for name in expected)


def test_cells_of_the_papers() -> None:
    spline, maf, paper = preset("nsf-coupling-hepmass"), preset("maf-10-miniboone"), preset("gebm-realnvp").flow
    assert (spline.flow.layers, spline.flow.blocks, spline.flow.hidden, spline.flow.bins) == (20, 1, 128, 8)
    assert (spline.training.batch_size, spline.training.steps, spline.training.learning_rate) == (256, 400_000, 5e-4)
    assert (maf.flow.layers, maf.flow.hidden, maf.flow.normalisation, maf.flow.linear) == (10, 512, "batch", "reverse")
    assert (maf.training.batch_size, maf.training.learning_rate, maf.training.patience) == (100, 1e-4, 30)
    assert maf.training.check_every == 296  # one epoch of 29,556 rows
    assert preset("maf-5-gas").flow.activation == "tanh"
    assert (paper.family, paper.layers, paper.hidden) == ("realnvp", 5, 100)
