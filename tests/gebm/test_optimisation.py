"""Steps that cannot be taken are not taken, decoupled weight decay is AdamW's, and a moving average is torch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gebm.optimisation import MovingAverage, adam, descend, descend_if_finite


def line(weight: float = 1.0) -> tuple[nn.Linear, torch.optim.Adam]:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer, adam([{"params": list(layer.parameters()), "lr": 0.1}], (0.9, 0.999))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_a_finite_step_is_that_of_descend(clip_norm: float) -> None:
    (checked, first), (plain, second) = line(), line()
    for _ in range(3):
        assert descend_if_finite(first, checked.weight.square().sum(), checked, clip_norm)
        descend(second, plain.weight.square().sum(), plain, clip_norm)
    assert torch.equal(checked.weight, plain.weight)


def test_neither_weights_nor_moments_move_without_a_finite_loss_and_gradient() -> None:
    layer, optimizer = line()
    assert descend_if_finite(optimizer, layer.weight.square().sum(), layer, 1.0)
    weight, moments = layer.weight.detach().clone(), first_moment(optimizer).clone()
    infinite_gradient = (layer.weight - layer.weight.detach()).sqrt().sum()  # the loss is 0, its slope is not finite
    for loss in (layer.weight.sum() * torch.nan, layer.weight.sum() * torch.inf, infinite_gradient):
        assert not descend_if_finite(optimizer, loss, layer, 1.0)
        assert torch.equal(layer.weight, weight)
        assert torch.equal(first_moment(optimizer), moments)


def first_moment(optimizer: torch.optim.Adam) -> Tensor:
    (state,) = optimizer.state.values()
    moment: Tensor = state["exp_avg"]
    return moment


def test_decoupled_weight_decay_is_adamw() -> None:
    ours, theirs = line()[0], line()[0]
    group = {"params": list(ours.parameters()), "lr": 0.1, "weight_decay": 0.5}
    optimizers = (
        adam([group], (0.9, 0.99), decoupled_weight_decay=True),
        torch.optim.AdamW(theirs.parameters(), lr=0.1, betas=(0.9, 0.99), weight_decay=0.5),
    )
    for _ in range(5):
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            descend(optimizer, layer.weight.square().sum(), layer, 0.0)
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_a_moving_average_is_torchs_to_the_last_bit() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ours = MovingAverage(network, 0.9)
    theirs = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=False)  # type: ignore[no-untyped-call]
    for _ in range(4):
        network(torch.randn(8, 3))
        for parameter in network.parameters():
            parameter.data.add_(torch.randn_like(parameter))
        ours.update_parameters(network)
        theirs.update_parameters(network)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        for name, value in ours.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name


@pytest.mark.usefixtures("unchecked")
def test_whole_numbers_are_moments_too() -> None:
    """As settings take them; torch's Adam refuses one that is whole beside one that is not."""
    weight = nn.Parameter(torch.zeros(2))
    assert adam([{"params": [weight], "lr": 0.1}], (0, 0.9)).param_groups[0]["betas"] == (0.0, 0.9)
