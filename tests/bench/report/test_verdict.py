"""The sentences claim what the paired intervals carry and no more."""

from __future__ import annotations

from typing import Any

import pytest

from bench.report.certificate import check, network_table
from bench.report.comparisons import compare, longest_readouts
from bench.report.verdict import verdict
from bench.results.scores import read_scores, split_sections

FD = "fd[digits-cnn]"


def section(made: Any, rows: list[dict[str, Any]]) -> Any:
    (found,) = split_sections(read_scores(made.frame(rows)))
    return found


def duel(made: Any, gains: list[float], metric: str = FD) -> list[dict[str, Any]]:
    """A GEBM whose chain moves the score of seed i by gains[i]; bases differ by 50 a seed."""
    rows = []
    for seed, gain in enumerate(gains):
        rows.append(made.row(seed=seed, metric=metric, value=100.0 + 50 * seed))
        rows.append(made.row(seed=seed, metric=metric, value=100.0 + 50 * seed + gain, **made.chain(1.0, 300)))
    return rows


@pytest.mark.parametrize(
    ("gains", "metric", "words"),
    [
        ([-10.0, -11.0, -12.0], FD, "better than its own base by 11.0 [8.5, 13.5], n = 3"),
        ([10.0, 11.0, 12.0], FD, "worse than its own base by 11.0 [8.5, 13.5], n = 3"),
        ([10.0, 11.0, 12.0], "is[digits-cnn]", "better than its own base by 11.0"),
        ([10.0, 11.0, 12.0], "new-score", "higher than its own base by 11.0"),
        ([-10.0, 1.0, 8.0], FD, "no clear difference from its own base"),
        ([0.0, 0.0, 0.0], FD, "no clear difference from its own base"),
        ([-10.0], FD, "no verdict against its own base from one seed (difference −10.0, no interval)"),
        ([-10.0, -10.1], FD, "n = 2, an interval too wide to lean on"),
    ],
)
def test_wording_follows_interval_and_direction(made: Any, gains: list[float], metric: str, words: str) -> None:
    (sentence,) = verdict(section(made, duel(made, gains, metric)))
    assert words in sentence
    assert sentence.startswith("At β=1, the model (gebm, ula, 300 steps): ")


def test_the_longest_chain_is_judged_not_the_best(made: Any) -> None:
    best = [made.row(seed=seed, value=0.1, **made.chain(1.0, 30)) for seed in range(3)]
    found = section(made, [*duel(made, [10.0, 11.0, 12.0]), *best])
    assert {chain.steps for chain in longest_readouts(found)} == {300}
    assert "worse than its own base" in verdict(found)[0]


def test_temperatures_get_sentences_of_their_own(made: Any) -> None:
    sentences = verdict(section(made, made.study()))
    assert len(sentences) == 3
    assert sentences[1].startswith("At β=100, the paper's protocol: a colder target than the trained density")
    assert "nats" in sentences[2]
    assert "nats" not in sentences[1]


def test_different_keys_are_not_compared(made: Any) -> None:
    rows = [made.row(seed=seed, key="another") for seed in range(3)]
    rows += [made.row(seed=seed, **made.chain(1.0, 300)) for seed in range(3)]
    (sentence,) = verdict(section(made, rows))
    assert "not comparable with its own base (scored under different keys)" in sentence


def test_seeds_are_paired_and_the_rest_dropped(made: Any) -> None:
    rows = [*duel(made, [-10.0, -11.0, -12.0]), *(made.row("gan-ns", seed, value=500.0) for seed in (1, 2, 7))]
    _, rival = compare(section(made, rows), [FD])
    assert rival.difference is not None
    assert (rival.difference.seeds, rival.difference.dropped) == ((1, 2), 2)


def test_stale_values_enter_no_verdict(made: Any) -> None:
    rows = [row | {"status": "stale"} for row in duel(made, [-10.0, -11.0, -12.0])]
    assert verdict(section(made, rows)) == [
        "No finished latent chain can be compared with a base yet, so there is no answer."
    ]


def test_without_scores_there_is_no_answer(made: Any) -> None:
    (sentence,) = verdict(section(made, [made.unscored("gebm", 0, "missing", "")]))
    assert "no answer" in sentence


def test_only_matching_networks_are_called_the_same_architecture(made: Any) -> None:
    networks = {model: [made.facts(model, seed) for seed in range(2)] for model in ("gebm", "gan-ns")}
    found = section(made, made.study())
    matches = check(networks)
    assert len(matches) == 3
    assert all(match.matched for match in matches)
    assert "the same architecture" in verdict(found, matches[0])[0]

    other = {"generator": "aaaa1111", "discriminator": "ffff9999"}
    networks["gan-ns"][1] = made.facts("gan-ns", 1, architecture=other)
    architecture, *weights = check(networks)
    assert "NOT MATCHED" in str(architecture)
    assert "discriminator" in str(architecture)
    assert "gan-ns seed 1" in str(architecture)
    assert "generator" not in str(architecture)
    assert all(match.matched for match in weights)
    assert "does NOT match" in verdict(found, architecture)[0]
    assert "recorded" in verdict(found)[0]


@pytest.mark.parametrize("weights", [{"generator": "cccc0", "discriminator": "x"}, {"generator": "cccc0"}, {}])
def test_other_or_unrecorded_initial_weights_are_loud(made: Any, weights: dict[str, str]) -> None:
    networks = {"gebm": [made.facts("gebm", 0)], "gan-ns": [made.facts("gan-ns", 0, initial_weights=weights)]}
    _, match = check(networks)
    assert "NOT MATCHED" in str(match)
    assert "discriminator" in str(match)


def test_one_model_has_nothing_to_match(made: Any) -> None:
    assert "nothing to match" in str(check({"gebm": [made.facts("gebm")]})[0])


def test_models_of_different_size_show_both_counts(made: Any) -> None:
    runs = [made.facts("gebm", 0), made.facts("gebm", 1, parameters={"generator": 7, "discriminator": 28_417})]
    assert "41,233 / 7" in network_table({"gebm": runs})
