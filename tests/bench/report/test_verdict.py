"""The sentences claim what the paired intervals carry and no more; models are called what their networks say they are."""

from __future__ import annotations

from typing import Any

import pytest

from bench.images.verdict import energy_verdict
from bench.report.certificate import certificate, check, mismatches
from bench.report.comparisons import compare, longest_sources

FD = "fd[digits-cnn]"


def sentences(found: Any) -> list[str]:
    """The answer line by line."""
    return [f"{bold}{text}" for _, bold, text, _ in energy_verdict(found).lines()]


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
        ([-10.0, -11.0, -12.0], FD, "better than its own base: −11.0 [−13.5, −8.5], n = 3"),
        ([10.0, 11.0, 12.0], FD, "worse than its own base: 11.0 [8.5, 13.5], n = 3"),
        ([10.0, 11.0, 12.0], "is[digits-cnn]", "better than its own base: 11.0 [8.5, 13.5], n = 3"),
        ([10.0, 11.0, 12.0], "new-score", "higher than its own base: 11.0 [8.5, 13.5], n = 3"),
        ([-10.0, 1.0, 8.0], FD, "no clear difference from its own base: −0.3 [−22.9, 22.2], n = 3"),
        ([0.0, 0.0, 0.0], FD, "no clear difference from its own base: 0.00 [0.00, 0.00], n = 3"),
        ([-10.0], FD, "no verdict against its own base: −10.0, one seed, no interval"),
        ([-10.0, -10.1], FD, "better than its own base: −10.0 [−10.7, −9.4], n = 2*"),
    ],
)
def test_wording_follows_interval_and_direction(made: Any, gains: list[float], metric: str, words: str) -> None:
    lead, title, answer, *_ = sentences(made.section(duel(made, gains, metric)))
    assert lead == f"Over its own base: {words.partition(' its')[0].rpartition(' ')[0]} at β=1 (model)."
    assert title.startswith(f"β=1 (model): gebm, ula, 300 steps; difference in {metric}")
    assert answer == words
    notes = sentences(made.section(duel(made, gains, metric)))[-1]
    assert notes.endswith("* An interval of two seeds, too wide to lean on.") == ("*" in words)


def test_the_longest_chain_is_judged_not_the_best(made: Any) -> None:
    best = [made.row(seed=seed, value=0.1, **made.chain(1.0, 30)) for seed in range(3)]
    found = made.section([*duel(made, [10.0, 11.0, 12.0]), *best])
    assert {chain.steps for chain in longest_sources(found)} == {300}
    assert "worse than its own base: 11.0 [8.5, 13.5], n = 3" in sentences(found)


def test_temperatures_get_findings_of_their_own(made: Any) -> None:
    model, paper, likelihood, _ = energy_verdict(made.section(made.study())).findings
    assert "not the trained density" in paper.subtitle
    assert "not the trained density" not in model.subtitle
    assert ["nats" in answer.text for each in (model, paper, likelihood) for answer in each.answers] == [False] * 6 + [
        True
    ]


def test_different_keys_are_not_compared(made: Any) -> None:
    rows = [made.row(seed=seed, key="another") for seed in range(3)]
    rows += [made.row(seed=seed, **made.chain(1.0, 300)) for seed in range(3)]
    assert "not comparable with its own base: scored under different keys" in sentences(made.section(rows))


def test_seeds_are_paired_and_the_rest_dropped(made: Any) -> None:
    rows = [*duel(made, [-10.0, -11.0, -12.0]), *(made.row("gan-ns", seed, value=500.0) for seed in (1, 2, 7))]
    _, rival = compare(made.section(rows), [FD])
    assert (rival.difference.seeds, rival.difference.dropped) == ((1, 2), 2)


@pytest.mark.parametrize("change", [{"stale": "gebm.objectives changed"}, {"status": "unfinished"}])
def test_stale_and_unfinished_values_enter_no_verdict(made: Any, change: dict[str, str]) -> None:
    rows = [row | change for row in duel(made, [-10.0, -11.0, -12.0])]
    answer, _ = sentences(made.section(rows))
    assert answer == "No finished latent chain can be compared with a base yet, so there is no answer."


def known(made: Any, **changes: dict[str, Any]) -> dict[str, Any]:
    """Facts of `study` with two seeds; `changes` are of all runs of a model, its name with _ for -."""
    found = {}
    for model in ("gebm", *made.GANS):
        for seed in range(2):
            found[f"digits-{model}-{seed}"] = made.facts(seed, **changes.get(model.replace("-", "_"), {}))
    return found


def test_the_very_same_networks_are_called_the_same_architecture(made: Any) -> None:
    found = made.section(made.study(2), known(made))
    matches = check(found)
    assert len(matches) == 3
    assert all(match.matched for match in matches)
    assert sentences(found)[2].startswith("Over gan-hinge and gan-ns (GAN, same architecture): ")


def test_other_or_unrecorded_networks_are_not_called_a_gan_of_the_same_architecture(made: Any) -> None:
    foreign = {"architecture": {"encoder": "eeee", "decoder": "ffff"}, "initial_weights": {}}
    for changes, words in (
        ({"gan_ns": foreign}, "no chain, another architecture"),
        ({"gan_ns": {"architecture": {}}}, "no chain, architectures not recorded"),
    ):
        found = made.section(made.study(2), known(made, **changes))
        _, _, same, other, *_ = sentences(found)
        assert same.startswith("Over gan-hinge (GAN, same architecture): ")
        assert other.startswith(f"Over gan-ns ({words}): ")
        assert not mismatches(found)
        (*_, outcomes) = certificate(found)
        assert "with networks of their own: gan-ns" in " ".join(outcomes.items)


def test_networks_of_one_name_that_differ_are_loud(made: Any) -> None:
    facts = known(made)
    other = {"generator": "aaaa1111", "discriminator": "ffff9999"}
    facts["digits-gan-ns-1"] = made.facts(1, architecture=other)
    found = made.section(made.study(2), facts)
    (said,) = mismatches(found)
    assert said.startswith("Architecture: NOT MATCHED — discriminator: ")
    assert "gan-ns seed 1" in said
    assert sentences(found)[3].startswith("Over gan-ns (no chain, another architecture): ")


@pytest.mark.parametrize("weights", [{"generator": "cccc0", "discriminator": "x"}, {"generator": "cccc0"}, {}])
def test_other_or_unrecorded_initial_weights_are_loud(made: Any, weights: dict[str, str]) -> None:
    facts = {"digits-gebm-0": made.facts(), "digits-gan-ns-0": made.facts(initial_weights=weights)}
    (said,) = mismatches(made.section([made.row(), made.row("gan-ns")], facts))
    assert said.startswith("Initial weights, seed 0: NOT MATCHED — discriminator")


def test_one_model_has_nothing_to_match_and_different_sizes_are_both_shown(made: Any) -> None:
    facts = {"digits-gebm-0": made.facts(), "digits-gebm-1": made.facts(1, parameters={"generator": 7})}
    table, outcomes = certificate(made.section([made.row(), made.row(seed=1)], facts))
    assert "nothing to match" in outcomes.items[0]
    assert "41,233 / 7" in [cell.text for cell in table.rows[0]]
