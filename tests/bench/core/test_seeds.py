"""Streams: what is shared is shared, and nothing else is."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.core.seeds import PAIRED, Streams

names = st.text(min_size=1, max_size=8)


@given(st.integers(0, 5), names, st.integers(0, 99), st.sampled_from(sorted(PAIRED)), names, names)
def test_paired_streams_leave_out_the_model(
    base: int, dataset: str, repeat: int, stream: str, one: str, other: str
) -> None:
    assert Streams(base, dataset, repeat, one).seed(stream) == Streams(base, dataset, repeat, other).seed(stream)


@given(names, names)
def test_other_streams_include_it(one: str, other: str) -> None:
    seeds = [Streams(0, "d", 0, model).seed("training") for model in (one, other)]
    assert (seeds[0] == seeds[1]) == (one == other)


def test_every_part_matters_and_seed_zero_is_a_seed() -> None:
    variants = [
        Streams(base, dataset, repeat, "m").seed(stream)
        for base in (0, 1)
        for dataset in ("a", "b")
        for repeat in (0, 1)
        for stream in ("data-order", "training", "generator-init")
    ]
    assert len(set(variants)) == len(variants)
    assert all(0 <= seed < 2**63 for seed in variants)


def test_parts_are_not_confused_by_concatenation() -> None:
    assert Streams(0, "ab", 0, "m").seed("c-training") != Streams(0, "a", 0, "m").seed("bc-training")
    assert Streams(1, "1", 0, "m").seed("x") != Streams(11, "", 0, "m").seed("x")


def test_a_generator_starts_at_the_start() -> None:
    streams = Streams(0, "digits", 3, "gebm")
    first, second = (torch.randn(5, generator=streams.generator("training")) for _ in range(2))
    assert torch.equal(first, second)


def test_seeds_are_stable_across_versions() -> None:
    """Published results name their seeds; this number may only change with the schema version."""
    assert Streams(0, "digits", 0, "gebm").seed("data-order") == 3002251927841700598
