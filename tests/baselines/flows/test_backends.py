"""Two libraries, one density: the same parameters give the same log_prob, in double precision.

Couplings and affine autoregressive layers agree as wholes. nflows and zuko give spline parameters different meanings (least bin widths,
softplus against exponential slopes), so splines are compared by what they are made of: the same knots and slopes.
"""

from __future__ import annotations

import math
import sys

import pytest
import torch
from nflows.transforms.coupling import AffineCouplingTransform
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline
from torch import Tensor, nn
from zuko.transforms import MonotonicRQSTransform

from baselines.flows import Flow, FlowSettings, build_flow
from baselines.flows.nflows_layers import AffineCoupling

DIMENSION = 5


def pair(**settings: object) -> tuple[Flow, Flow]:
    """A flow of nflows off its initial weights, and the like of zuko."""
    torch.manual_seed(0)
    first = build_flow(FlowSettings(**settings), DIMENSION).double().eval()
    second = build_flow(FlowSettings(backend="zuko", **settings), DIMENSION).double().eval()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return first, second


def linears(flow: Flow) -> list[nn.Module]:
    """zuko's linear layers are not always torch's."""
    return [part for part in flow.modules() if getattr(part, "weight", None) is not None]


def copy_weights(first: Flow, second: Flow, rows: list[Tensor | None]) -> None:
    """Every linear layer of `first` to its like in `second`, the output rows of some in another order."""
    ours, theirs = linears(first), linears(second)
    assert len(ours) == len(theirs) == len(rows)
    with torch.no_grad():
        for source, target, order in zip(ours, theirs, rows, strict=True):
            chosen = torch.arange(source.weight.shape[0]) if order is None else order
            target.weight.copy_(source.weight[chosen])
            target.bias.copy_(source.bias[chosen])


def assert_agree(first: Flow, second: Flow) -> None:
    x = torch.randn(50, DIMENSION, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert not torch.allclose(first.log_prob(x), first.prior.log_prob(x), atol=0.1)
    torch.testing.assert_close(second.log_prob(x), first.log_prob(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(second(x), first(x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("blocks", [1, 3])
def test_realnvp_is_the_same_flow_in_both(blocks: int) -> None:
    first, second = pair(family="realnvp", layers=3, hidden=12, blocks=blocks)
    rows: list[Tensor | None] = []
    for last in linears(first)[
        blocks :: blocks + 1
    ]:  # nflows: all shifts, then all scales; zuko: shift and scale a feature
        features = last.weight.shape[0] // 2
        rows += [None] * blocks + [torch.arange(2 * features).reshape(2, features).T.reshape(-1)]
    copy_weights(first, second, rows)
    assert_agree(first, second)


@pytest.mark.parametrize("first", [0, 1])
def test_slices_couple_as_the_index_tensors_of_nflows_do(first: int) -> None:
    layer = AffineCoupling(5, first, lambda *features: Ignoring(nn.Linear(*features)), log_scale_bound=3.0)
    rows = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    for ours, theirs in [
        (layer(rows), AffineCouplingTransform.forward(layer, rows)),
        (layer.inverse(rows), AffineCouplingTransform.inverse(layer, rows)),
    ]:
        assert all(map(torch.equal, ours, theirs))


class Ignoring(nn.Module):
    """A network that ignores nflows' context."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, context: None = None) -> Tensor:
        return self.network(inputs)  # type: ignore[no-any-return]


@pytest.mark.parametrize("blocks", [1, 2])
def test_maf_is_the_same_flow_in_both(blocks: int) -> None:
    first, second = pair(family="maf", layers=2, hidden=12, blocks=blocks, linear="reverse")
    swapped = torch.arange(2 * DIMENSION).reshape(DIMENSION, 2).flip(1).reshape(-1)  # scale and shift, shift and scale
    copy_weights(first, second, ([None] * blocks + [swapped]) * 2)
    for ours, theirs in zip(linears(first), linears(second), strict=True):
        assert float(ours.mask.sum()) == float(theirs.mask.sum())
    assert_agree(first, second)


@pytest.mark.parametrize("bins", [2, 4, 8])
def test_splines_of_the_same_knots_agree(bins: int) -> None:
    generator, bound, least = torch.Generator().manual_seed(bins), 3.0, 1e-3
    raw = torch.randn(200, 3 * bins - 1, generator=generator, dtype=torch.float64)
    widths, heights, slopes = raw.split([bins, bins, bins - 1], dim=1)
    x = 2.5 * torch.randn(200, generator=generator, dtype=torch.float64)
    expected, log_derivative = unconstrained_rational_quadratic_spline(
        x, widths.clone(), heights.clone(), slopes.clone(), tail_bound=bound
    )
    shares = [least + (1 - least * bins) * part.softmax(1) for part in (widths, heights)]
    slope = (least + nn.functional.softplus(slopes)).log()
    # zuko first bends its parameters: v/(1 + |k v/log 0.001|) with k = 2 for widths and heights, 1 for slopes
    logs = [share.log() - share.log().mean(1, keepdim=True) for share in shares]
    parameters = [unbend(log, 2.0) for log in logs] + [unbend(slope, 1.0)]
    value, derivative = MonotonicRQSTransform(*parameters, bound=bound, slope=least).call_and_ladj(x)
    assert int((x.abs() < bound).sum()) > 100
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(derivative, log_derivative, rtol=1e-8, atol=1e-8)


def unbend(wanted: Tensor, k: float) -> Tensor:
    return wanted / (1 - (k * wanted / math.log(1e-3)).abs())


def test_without_zuko_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "baselines.flows.zuko_backend", raising=False)
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(
        ImportError, match=r"backend='zuko' needs zuko; install the extra: pip install 'gebm-bench\[zuko\]'"
    ):
        build_flow(FlowSettings("maf", "zuko"), 3)
    assert build_flow(FlowSettings("maf"), 3).log_prob(torch.zeros(1, 3)).shape == (1,)
