"""DataStream: every row once an epoch, whatever the sizes; nothing depends on the seed."""

from __future__ import annotations

import io

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gebm.stream import DataStream

laws = settings(derandomize=True, deadline=None, max_examples=60)
sizes = st.integers(1, 40).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(1, rows)))


def jitter(batch: Tensor, generator: torch.Generator) -> Tensor:
    return batch + torch.rand(batch.shape, generator=generator)


@laws
@given(sizes, st.integers(0, 2**31))
def test_every_row_exactly_once_an_epoch(size: tuple[int, int], seed: int) -> None:
    """Batches are cut from a concatenation of permutations: each epoch's stretch of it holds every row once."""
    rows, batch_size = size
    stream = DataStream(torch.arange(float(rows)), batch_size, torch.Generator().manual_seed(seed))
    batches = [stream.next() for _ in range(3 * rows // batch_size + 1)]
    assert {batch.shape[0] for batch in batches} == {batch_size}
    for epoch in torch.cat(batches)[: 3 * rows].split(rows):
        assert torch.equal(epoch.sort().values, torch.arange(float(rows))[: len(epoch)]) or len(epoch) < rows


@laws
@given(sizes, st.integers(0, 30))
def test_it_continues_where_it_was(size: tuple[int, int], before: int) -> None:
    rows, batch_size = size
    data = torch.arange(float(rows))
    stream = DataStream(data, batch_size, torch.Generator().manual_seed(0), jitter)
    for _ in range(before):
        stream.next()
    buffer = io.BytesIO()
    torch.save(stream.state_dict(), buffer)
    expected = [stream.next() for _ in range(7)]
    buffer.seek(0)
    other = DataStream(data, batch_size, torch.Generator().manual_seed(99), jitter)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(a, other.next()) for a in expected)


def test_epochs_are_shuffled_anew() -> None:
    stream = DataStream(torch.arange(50.0), 50, torch.Generator().manual_seed(0))
    assert not torch.equal(stream.next(), stream.next())


def test_data_are_left_alone() -> None:
    data = torch.zeros(6, 2)
    stream = DataStream(data, 3, torch.Generator().manual_seed(0), jitter)
    stream.next().add_(1)
    assert torch.equal(data, torch.zeros(6, 2))


@pytest.mark.parametrize("batch_size", [0, -1, 7])
def test_a_batch_has_between_one_and_all_rows(batch_size: int) -> None:
    with pytest.raises(ValueError, match=f"batch_size must be between 1 and the 6 rows of the data, got {batch_size}"):
        DataStream(torch.zeros(6, 2), batch_size, torch.Generator())
