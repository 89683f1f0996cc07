"""The collider simulation: physics that must hold exactly before the detector, peaks where they belong after it.

Kolmogorov–Smirnov tests fail at p < 1e-4; seeds are fixed.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bench.data import load_dataset
from bench.data.hepmass_sim import FEATURES, TOP, Events, W, decay, generate, invariant_mass, simulate

from .conftest import facts

ALARM = 1e-4
DECAYS = (
    ("resonance", "top", "antitop"),
    ("top", "w_leptonic", "bottom"),
    ("antitop", "w_hadronic", "antibottom"),
    ("w_leptonic", "lepton", "neutrino"),
    ("w_hadronic", "quark", "antiquark"),
)


@pytest.fixture(scope="module")
def events() -> Events:
    return generate(20_000, np.random.default_rng(0))


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    return simulate(40_000, np.random.default_rng(1))


@pytest.mark.parametrize(("parent", "first", "second"), DECAYS)
def test_four_momentum_is_conserved_at_every_decay(events: Events, parent: str, first: str, second: str) -> None:
    assert np.abs(events[parent] - events[first] - events[second]).max() < 1e-9 * events[parent][0].max()


def test_particles_are_on_their_shells(events: Events) -> None:
    for name in ("lepton", "neutrino", "quark", "antiquark"):
        p = events[name]
        assert np.abs(p[0] - np.linalg.norm(p[1:], axis=0)).max() < 1e-9 * p[0].max()
    for name in ("bottom", "antibottom"):
        np.testing.assert_allclose(invariant_mass(events[name]), 4.7, atol=1e-3)
    widths = {"top": 1.41, "antitop": 1.41, "w_leptonic": 2.085, "w_hadronic": 2.085}
    for name, width in widths.items():
        low, middle, high = np.percentile(invariant_mass(events[name]), [25, 50, 75])
        assert middle == pytest.approx(TOP if "top" in name else W, abs=0.1)
        assert high - low == pytest.approx(width, rel=0.1), "a Breit–Wigner's quartiles are its half maxima"


def test_decays_are_isotropic_in_the_rest_frame() -> None:
    rng = np.random.default_rng(1)
    mass = np.full(20_000, 500.0)
    at_rest = np.stack([mass, *np.zeros((3, len(mass)))])
    first, second = decay(at_rest, mass, 172.5, 80.4, rng)
    np.testing.assert_allclose(first[1:], -second[1:], atol=1e-9)
    size = np.linalg.norm(first[1:], axis=0)
    for axis in (1, 2, 3):  # the projection of an isotropic direction on any axis is uniform
        assert stats.kstest(first[axis] / size, "uniform", args=(-1, 2)).pvalue > ALARM
    np.testing.assert_allclose(invariant_mass(first), 172.5, rtol=1e-9)
    np.testing.assert_allclose(invariant_mass(second), 80.4, rtol=1e-9)


def test_isotropy_survives_the_boost(events: Events) -> None:
    """The cosine of the angle between the lepton, seen in the W's frame, and the W's flight is uniform."""
    w, lepton = events["w_leptonic"], events["lepton"]
    momentum = np.linalg.norm(w[1:], axis=0)
    cosine = (2 * lepton[0] - w[0]) / momentum  # E_ℓ = (E_W + |p_W| cos θ*)/2 for massless children
    assert stats.kstest(cosine, "uniform", args=(-1, 2)).pvalue > ALARM


def test_reconstructed_masses_peak_where_they_should(features: np.ndarray) -> None:
    x = dict(zip(FEATURES, features.T, strict=True))
    assert x["m_lv"].min() == W  # exactly m_W wherever the neutrino has a solution, above it elsewhere
    assert (x["m_lv"] == W).mean() > 0.6
    for name, mass, tolerance, bin_width in (
        ("m_jj", W, 3, 2),
        ("m_jlv", TOP, 8, 5),
        ("m_jjb", TOP, 5, 4),
        ("m_WWbb", 1000, 30, 20),
    ):
        edges = np.arange(x[name].min(), x[name].max() + bin_width, bin_width)
        highest = np.histogram(x[name], edges)[0].argmax()
        assert edges[highest] + bin_width / 2 == pytest.approx(mass, abs=tolerance), name
    assert (np.abs(x["m_WWbb"] - 1000) < 100).mean() > 0.6


def test_features_are_what_a_detector_gives(features: np.ndarray) -> None:
    assert np.isfinite(features).all()
    x = dict(zip(FEATURES, features.T, strict=True))
    pt, eta, tags = (np.stack([x[f"jet {i} {what}"] for i in range(1, 5)]) for what in ("pT", "η", "b-tag"))
    assert (np.diff(pt, axis=0) <= 0).all()
    assert pt.min() > 20
    assert np.abs(eta).max() < 2.5
    assert set(np.unique(tags)) == {0.0, 1.0}
    assert tags.sum(axis=0).min() >= 1
    assert x["jets"].min() == 4
    for name in x:
        if name.endswith("φ"):
            assert stats.kstest(x[name], "uniform", args=(-np.pi, 2 * np.pi)).pvalue > ALARM, name


def test_dataset_has_hepmass_21_columns_and_follows_its_seed() -> None:
    dataset = load_dataset("hepmass-sim", None)
    assert [rows.shape for rows in dataset.splits.values()] == [(20_000, 21), (2_000, 21), (10_000, 21)]
    dropped = {"jets", "m_lv", *(f"jet {i} b-tag" for i in range(1, 5))}
    assert facts(dataset).features == tuple(name for name in FEATURES if name not in dropped)
    fitted = np.concatenate([dataset.splits["train"], dataset.splits["validation"]])
    np.testing.assert_allclose(fitted.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(fitted.std(axis=0, ddof=1), 1, atol=1e-4)
    raw = simulate(32_000, np.random.default_rng(0))[
        :22_000, [FEATURES.index(name) for name in facts(dataset).features]
    ]
    assert facts(dataset).log_det == pytest.approx(-np.log(raw.std(axis=0, ddof=1)).sum(), abs=1e-6)
    assert dataset.digest == load_dataset("hepmass-sim", None).digest
    assert dataset.digest != load_dataset("hepmass-sim@1", None).digest


def test_any_number_of_rows() -> None:
    assert [len(simulate(count, np.random.default_rng(0))) for count in (0, 1, 20_001)] == [0, 1, 20_001]
