"""What the second network is worth, on made-up studies whose answer is known: temperature, targets, exact samples, the 2 × 2, claims."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from pydantic import ValidationError

from bench.claims import judge, load_claims, to_json
from bench.claims.model import Selector
from bench.images.attribution import makings, post_hoc_contrasts, same_seconds, two_by_two
from bench.images.attribution_tables import attribution_table, post_hoc_table, seconds_table
from bench.images.blocks import score_table
from bench.images.figures import score_figures
from bench.images.targets import exact_table, fastest_table, reached, target_table
from bench.images.temperature import calibrated, draw_temperature, temperature_table
from bench.images.verdict import energy_verdict, quoted
from bench.report import render
from bench.report.blocks import Table
from bench.results.sources import CALIBRATED_BETA
from bench.stats import holm

ENERGY_OF = {
    "gebm": ("gebm", "own"),
    "gebm+refit": ("gebm", "refit"),
    "gan-ns": ("gan-ns", ""),
    "gan-ns+own": ("gan-ns", "own"),
    "gan-ns+refit": ("gan-ns", "refit"),
    "gan-ns+time": ("gan-ns+time", ""),
}
BASES = {"gebm": 20.0, "gan-ns": 22.0, "gan-ns+time": 17.0}
ENERGIES = {"own": -4.0, "refit": -6.0}
INTERACTION = 0.8
BETAS = {0: 12.0, 1: 14.0, 2: 16.0}
SHORT = {"energy": 0.4, "base_energy": 1.0, "target_energy": 0.0, "covered": 0.6, "rhat": 1.02, "invalid": 0}
THERE = SHORT | {"energy": 0.0, "covered": 1.0}
SPEC = {"kind": "images", "dataset": "digits", "dataset_digest": "ab", "base_seed": 0, "threads": 1}


def config(model: str) -> dict[str, Any]:
    """The settings of a run as its spec has them."""
    base, energy = ENERGY_OF[model]
    joint = base == "gebm"
    training = {"base_steps": 9000 if base.endswith("time") else 5000}
    own = {"objective": "kale" if joint else "non-saturating", "has_energy": joint, "training": training}
    if model == base:
        return own
    return {
        "objective": "kale",
        "has_energy": True,
        "energy": energy,
        "base": {"model": base, "config": own},
        "training": None,
    }


def level(model: str, seed: int) -> float:
    """The mean score of a model's samples: the base's, the energy's share, an interaction, and what the seed adds."""
    base, energy = ENERGY_OF[model]
    joint = INTERACTION if (base, energy) == ("gebm", "own") else 0.0
    wobble = 0.01 * math.sin(7 * seed + len(model))  # no two models move alike
    return BASES[base] + ENERGIES.get(energy, 0.0) + joint + 5 * seed + wobble


def guided(made: Any, seeds: int = 3, without: tuple[str, ...] = ()) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows and facts of all models: bases, exact samples at β̂, a chain at its target at β̂ and a short one at β=100."""
    rows, facts = [], {}
    for model in (name for name in ENERGY_OF if name not in without):
        base, energy = ENERGY_OF[model]
        for seed in range(seeds):
            spent = 30.0 if energy in ("refit", "") and model != base else 100.0 if model != "gan-ns+time" else 129.0
            facts[f"digits-{model}-{seed}"] = made.facts(
                seed, spec=SPEC | {"model": model, "config": config(model), "seed": seed}, seconds_training=spent
            )
            rows.append(made.row(model, seed, value=BASES[base] + 5 * seed))
            rows += _energetic(made, model, seed) if energy else []
    return rows, facts


def _energetic(made: Any, model: str, seed: int) -> list[dict[str, Any]]:
    own = {"beta": BETAS[seed], "beta_rule": "calibrated"}
    exact = {"method": "resampled", "pool": 40_000, "ess": 4500.0, "distinct": 1800}
    at_target = {"target": "at its target", "about": {"row": {"chain": THERE}}}
    on_its_way = {"target": "on its way", "beta_rule": "fixed", "about": {"row": {"chain": SHORT}}}
    value = level(model, seed)
    counts = {"gradient_evaluations": 0, "forward_evaluations": 20}
    rows = [
        made.row(model, seed, sampler="exact", **own, **counts, value=value, about={"row": {"exact": exact}}),
        made.row(model, seed, **made.chain(own["beta"], 10) | own | at_target, value=value + 9),
        made.row(model, seed, **made.chain(own["beta"], 300) | own | at_target, value=value),
        made.row(model, seed, **made.chain(100.0, 300) | on_its_way, value=value - 1),
    ]
    temperature = {"beta": own["beta"], "error": None, "at_edge": seed == 0, "text": "", "validation_gain": 0.3}
    gains = {0.5: 0.1, 1.0: 0.2, 10.0: 0.3, 100.0: -9.0}
    density = {"sampler": "likelihood", "metric": made.GAIN, "key": made.GAIN_KEY}
    rows += [
        made.row(model, seed, **density, beta=beta, beta_rule="fixed", value=gain + 0.01 * seed)
        for beta, gain in gains.items()
    ]
    rows.append(made.row(model, seed, **density | {"metric": "kl-from-base"}, beta=1.0, beta_rule="fixed", value=0.03))
    facts = {"row": {"temperature": temperature, "log_partition": {"pareto_k": 0.2, "method": "importance sampling"}}}
    return [*rows, made.row(model, seed, **density, **own, value=0.4 + 0.01 * seed, about=facts)]


def section(made: Any, **settings: Any) -> Any:
    return made.section(*guided(made, **settings))


def column(table: Table | None, name: str) -> list[str]:
    """A column's cells as text."""
    assert table is not None
    index = next(i for i, each in enumerate(table.columns) if each.name.startswith(name))
    return [f"{row[index].code} {row[index]}".strip() for row in table.rows]


def sentences(found: Any) -> list[str]:
    return [f"{bold}{text}" for _, bold, text, _ in energy_verdict(found).lines()]


def test_effects_of_known_size_are_found(made: Any) -> None:
    squares = {square.spot.name: square for square in two_by_two(section(made))}
    for name in ("exact samples at β̂", "ula β̂, 300 steps"):
        base, energy, interaction = squares[name].effects
        assert base.estimate.mean == pytest.approx(-2 + INTERACTION / 2, abs=0.05)
        assert energy.estimate.mean == pytest.approx(2 + INTERACTION / 2, abs=0.05)
        assert interaction.estimate.mean == pytest.approx(INTERACTION, abs=0.05)
        assert (base.reading, energy.reading, interaction.reading) == ("better", "worse", "higher")
        assert base.estimate.n == 3
    alone = squares["base alone"].effects
    assert [each.estimate and each.estimate.mean for each in alone] == [-2.0, None, None]


def test_every_p_value_of_a_table_is_corrected_with_all_others(made: Any) -> None:
    found = section(made)
    for effects in (
        [effect for square in two_by_two(found) for effect in square.effects],
        post_hoc_contrasts(found),
        [each.difference for each in same_seconds(found)],
    ):
        plain = [p for each in effects if each.estimate and (p := each.estimate.p_value) is not None]
        assert len(plain) >= 3
        assert [each.p_holm for each in effects if each.p_holm is not None] == pytest.approx(holm(plain))


def test_one_seed_has_no_p_value_and_no_verdict(made: Any) -> None:
    found = section(made, seeds=1)
    assert {effect.p_holm for square in two_by_two(found) for effect in square.effects} == {None}
    assert {each.reading for each in post_hoc_contrasts(found)} == {"no verdict"}


def test_missing_cells_are_said(made: Any) -> None:
    found = section(made, without=("gan-ns+own",))
    table = attribution_table(found)
    assert set(column(table, "GAN, own")[1:]) == {"no such model"}
    assert all("not scored on all sides" in text for text in column(table, "interaction")[1:])
    assert attribution_table(section(made, without=("gan-ns+own", "gan-ns+refit"))) is None
    assert set(column(attribution_table(section(made, without=("gebm+refit",))), "KALE, post-hoc")) >= {"no such model"}


def test_models_are_told_by_their_settings_and_not_by_their_names(made: Any) -> None:
    rows, facts = guided(made)
    names = {"gan-ns+refit": "anything", "gebm": "other", "gan-ns+time": "third"}
    for row in rows:
        row["model"] = names.get(row["model"], row["model"])
    found = made.section(rows, facts)
    assert {each.label for each in makings(found).values() if each.post_hoc} == {"anything"}
    assert {each.name for each in post_hoc_contrasts(found)} == {"anything − other"}
    assert {each.longer for each in same_seconds(found)} == {"third"}


def test_a_control_whose_base_is_not_trained_is_no_gebm(made: Any) -> None:
    rows, facts = guided(made)
    assert "gebm" in makings(made.section(rows, facts))
    for run in (facts[name] for name in facts if "-gebm-" in name):
        run["spec"]["config"]["training"]["train_base"] = False
    assert "gebm" not in makings(made.section(rows, facts))


def test_the_post_hoc_energy_is_compared_with_the_gebm(made: Any) -> None:
    found = section(made)
    (exact, *_) = post_hoc_contrasts(found)
    assert exact.name == "gan-ns+refit − gebm"
    assert exact.estimate is not None
    assert exact.estimate.mean == pytest.approx((22 - 6) - (20 - 4 + INTERACTION), abs=0.05)
    assert "better, p" in column(post_hoc_table(found), made.FD)[0]


def test_the_same_seconds_are_those_of_base_and_energy(made: Any) -> None:
    found = section(made)
    (exact, *_) = same_seconds(found)
    assert exact.seconds == (129.0, 130.0)
    assert exact.difference.estimate is not None
    assert exact.difference.estimate.mean == pytest.approx(17 - 16, abs=0.05)
    assert column(seconds_table(found), "of base and energy")[0] == "130"


def test_short_chains_are_never_called_samples_of_their_target(made: Any) -> None:
    found = section(made)
    words = "short-run refinement with the energy times 100"
    said = sentences(found)
    assert any(f"by {words}" in sentence for sentence in said)
    assert any(sentence.startswith(f"{words[:1].upper()}{words[1:]}: gebm, ula, 300 steps") for sentence in said)
    assert not any("at β=100" in sentence and "short-run" not in sentence for sentence in said)
    assert any("ula at β̂ (calibrated), 300 steps: at the target for gebm" in sentence for sentence in said)
    assert any("60 % of the way" in sentence for sentence in said)


def test_the_first_sentences_are_likelihood_exact_samples_and_targets(made: Any) -> None:
    found = section(made)
    likelihood, exact, *chains = energy_verdict(found).lead
    assert "a gain of 0.210" in likelihood
    assert "nats at β=1, 0.0300 [0.0300, 0.0300] on samples of its own; a gain of" in likelihood
    assert "β̂ = 14.0 or more (12.0 to 16.0, at the edge in 1 of 3 seeds)" in likelihood
    assert "Exact samples of the calibrated density" in exact
    assert "better for gebm (−3." in exact
    assert chains[0].startswith("Chains of ula at β̂")
    assert any("gan-ns+refit against gebm" in sentence for sentence in chains)
    assert any("(129 s against 130 s)" in sentence for sentence in chains)


def test_temperatures_are_read_over_seeds(made: Any) -> None:
    found = section(made)
    assert calibrated(found)["gebm"].mean == 14.0
    table = temperature_table(found)
    assert column(table, "gain at β=1")[0].startswith("0.210 [")
    assert column(table, "own samples at β=1")[0].startswith("0.0300 [")
    assert column(table, "at β̂")[0].startswith("0.410 [")
    assert column(table, "at β=100")[0].startswith("−8.99")
    figure = draw_temperature(found)
    assert figure is not None
    assert [panel.get_xscale() for panel in figure.axes] == ["log", "log"]
    dashed = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert {(*line.get_xdata(), *line.get_ydata()) for line in dashed} == {(1.0, 0.03)}
    rows, facts = guided(made)
    few = [row for row in rows if not (row["metric"] == made.GAIN and row["beta"] == 100 and row["seed"])]
    assert "in 1 of 3 seeds" in column(temperature_table(made.section(few, facts)), "at β=100")[0]


def test_targets_are_marked_where_scores_stand(made: Any) -> None:
    found = section(made, without=("gebm+refit", "gan-ns+own", "gan-ns+refit"))
    marks = dict(zip(column(score_table(found), "samples from"), column(score_table(found), "target"), strict=True))
    assert marks["ula β=100 (paper)"] == "→ 60 %"
    assert marks["ula β̂ (calibrated)"] == "✓"
    assert marks["base alone"] == "—"
    verdicts = dict(zip(column(target_table(found), "chain"), column(target_table(found), "verdict"), strict=True))
    assert verdicts == {"ula β=100 (paper)": "on its way", "ula β̂ (calibrated)": "at its target"}


def test_seeds_that_disagree_cannot_tell(made: Any) -> None:
    rows, facts = guided(made)
    for row in rows:
        if row["sampler"] == "ula" and row["beta"] == 100 and row["seed"] == 1:
            row["target"] = "at its target"
    found = made.section(rows, facts)
    (each,) = [each for source, each in reached(found).items() if source[:3] == ("gebm", "ula", 100.0)]
    assert (each.verdict, each.mark) == ("cannot tell", "?")
    assert "on its way in 2 of 3; at its target in 1 of 3" in column(target_table(found), "verdict")


def test_exact_samples_that_could_not_be_had_say_why(made: Any) -> None:
    rows, facts = guided(made)
    for row in rows:
        if row["sampler"] == "exact" and row["model"] == "gebm" and row["seed"] == 2:
            why = "an ESS of 12 from 1,000,000 base draws"
            row |= {"metric": None, "value": math.nan, "status": "partial", "reason": why}
            row["about"] = {"row": row["about"]["row"] | {"why_not": why}}
    table = exact_table(made.section(rows, facts))
    assert column(table, "seeds")[0] == "2 of 3"
    assert column(table, "why not")[0] == "seed 2: an ESS of 12 from 1,000,000 base draws"
    assert column(table, "β")[0] == "β̂ = 14.0 [12.0, 16.0]"
    assert re.search(r"gebm \(−3\.21 \[[^]]*\] in 2 of 3 seeds\)", energy_verdict(made.section(rows, facts)).lead[1])


def test_the_fastest_sampler_is_the_shortest_chain_that_is_no_worse(made: Any) -> None:
    rows, facts = guided(made)
    for row in rows:
        row["value"] -= 5 * row["seed"] * (row["metric"] == made.FD)  # seeds alike: a narrow interval
    table = fastest_table(made.section(rows, facts))
    first = [column(table, name)[0] for name in ("model", "base alone", "ula")]
    assert first[:2] == ["gebm", "not within 1"]
    assert first[2].startswith("601 (16.")
    for row in rows:
        row["value"] += 1 * (row["sampler"] == "ula")
    assert column(fastest_table(made.section(rows, facts)), "ula")[0] == "not within 601"
    assert column(fastest_table(section(made, seeds=1)), "ula")[0] == "no interval"


def test_claims_about_energies_are_judged_at_the_calibrated_temperature(made: Any) -> None:
    found = judge([section(made)], load_claims())
    verdicts = {f.claim.id: f.verdict for f in found}
    assert verdicts["kale-training-beats-post-hoc-energy"] == "contradicted"
    assert verdicts["energy-beats-own-discriminator-ns"] == "supported"
    assert verdicts["exact-samples-beat-own-base"] == "supported"
    assert verdicts["calibration-gains-likelihood"] == "supported"
    about = {(f.claim.id, c.treatment.label, c.treatment.sampler) for f in found for c in f.comparisons if c.treatment}
    assert ("energy-beats-own-discriminator-ns", "gan-ns+refit", "exact") in about
    assert ("calibration-gains-likelihood", "gebm", "likelihood") in about
    assert ("better-than-own-base-cold", "gebm", "exact") not in about
    (lost,) = [f for f in found if f.claim.id == "calibration-improves-samples"]
    assert set(lost.not_run) == {
        f"no score of {model} β=1 to compare with" for model in ENERGY_OF if ENERGY_OF[model][1]
    }
    plain = json.dumps([to_json(each) for each in found], allow_nan=False, default=str)
    assert '"beta": "calibrated"' in plain


def test_every_form_shows_it_all_and_a_terminal_only_the_longest(made: Any) -> None:
    results = made.results(*guided(made))
    for form in ("markdown", "html", "latex"):
        text = render(results, form)
        for title in (
            "Do chains reach their target?",
            "Exact samples",
            "Fastest sampler",
            "Whose merit is it",
            "Temperature",
        ):
            assert title in text
        assert "inf" not in text.replace("infinit", "").replace("information", "").split()
    assert len(made.printed(results, 120).splitlines()) <= 80


def test_many_chains_have_a_panel_per_model(made: Any) -> None:
    rows, facts = guided(made)
    for name in ("mala", "hmc", "drs", "ddls"):
        rows += [row | {"sampler": name} for row in rows if row["sampler"] == "ula" and row["beta"] != 100]
    found = made.section(rows, facts)
    figures = {figure.name: figure for figure in score_figures(found, quoted(found))}
    drawn = figures["score"].draw()
    assert drawn is not None
    titles = [panel.get_title(loc="left") for panel in drawn.axes if panel.get_visible()]
    assert titles == ["gebm", "gebm+refit", "gan-ns+own", "gan-ns+refit"]
    assert {source.sampler for source in quoted(found)} == {"ula", "exact"}
    assert {source.label for source in quoted(found)} == {"gebm"}


def test_a_terminal_shows_a_shared_base_once(made: Any) -> None:
    table = score_table(section(made))
    assert table is not None
    assert table.brief is None  # few enough lines to be shown whole
    rows, facts = guided(made)
    rows += [row | {"sampler": "mala"} for row in rows if row["sampler"] == "ula" and row["beta"] != 100]
    shown = made.printed(made.results(rows, facts), 120)
    bases = [line.split()[0] for line in shown.splitlines() if "base alone" in line and "•" not in line]
    assert bases == ["gebm", "gan-ns", "gan-ns+time"]
    assert "mala" not in shown.partition("What is the second network worth")[0]


def test_no_claim_names_an_infinite_temperature() -> None:
    with pytest.raises(ValidationError, match='write "calibrated"'):
        Selector.model_validate({"model": "gebm", "beta": math.inf})
    assert Selector.model_validate({"model": "gebm", "beta": "calibrated"}).beta == (CALIBRATED_BETA,)


def test_a_base_that_is_as_good_says_nothing_about_samplers(made: Any) -> None:
    table = fastest_table(section(made))  # seeds differ by 5, so the interval is wide
    assert column(table, "base alone")[0] == "1 (25.0)"
    assert column(table, "ula")[0] == "base suffices"


def test_cells_are_means_over_the_same_seeds(made: Any) -> None:
    rows, facts = guided(made)
    few = [row for row in rows if not (row["model"] == "gan-ns+refit" and row["seed"] == 2)]
    (base, *_) = two_by_two(made.section(few, facts))
    assert base.cells == (22.5, 22.5, 24.5, 24.5)
