"""A small collider simulation in the form of HEPMASS: a heavy resonance X → t t̄ → (W b)(W b̄) → (ℓν b)(q q̄ b̄).

What HEPMASS is made of (Baldi et al. 2016, "Parameterized neural networks for high-energy physics", arXiv 1601.07913), reduced to what a
laptop does in a second: isotropic two-body decays in rest frames (no spin correlations), relativistic boosts, Breit–Wigner masses,
Gaussian resolution of jets, lepton and missing transverse momentum, b-tags with efficiency and mistags, cuts on what a detector accepts,
and the usual reconstruction. Extra jets are counted and balance X's transverse momentum, but are not among the four jets. Energies,
momenta and masses are in GeV with c = 1. Four-momenta are arrays (4, n) of (E, px, py, pz).

Features are in HEPMASS's order, 22 measured and 5 reconstructed ones. The neutrino's longitudinal momentum follows from m_ℓν = m_W, so
that m_ℓν is exactly m_W wherever that has a solution: with jet count and b-tags it is the column that HEPMASS's preprocessing (drop what
repeats) takes away, 27 → 21.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from bench.data import Array, Dataset, Inputs
from bench.data.maf import continuous_columns
from bench.data.table import standardising, tabular
from gebm.components import component

__all__ = ["FEATURES", "Events", "dataset", "decay", "generate", "simulate"]

TOP, TOP_WIDTH = 172.5, 1.41
W, W_WIDTH = 80.4, 2.085
BOTTOM = 4.7
RELATIVE_WIDTH = 0.02  # of X
SPREAD, RAPIDITY = 30.0, 0.7  # of X: standard deviations of its transverse momentum per axis and of its rapidity
CUT_PT, CUT_ETA = 20.0, 2.5
TAG_EFFICIENCY, MISTAG = 0.7, 0.05
MASS = 1000.0  # of X
SIZES = {  # rows of train, validation and test
    "hepmass-sim": (20_000, 2_000, 10_000),
    "hepmass-sim-full": (315_123, 35_013, 174_987),
}
CHUNK = 16_384  # rows at a time: what is at hand stays in the processor's cache

FEATURES = (
    *("lepton pT", "lepton η", "lepton φ", "missing pT", "missing φ", "jets"),
    *(f"jet {i} {what}" for i in range(1, 5) for what in ("pT", "η", "φ", "b-tag")),
    *("m_lv", "m_jj", "m_jlv", "m_jjb", "m_WWbb"),
)
JETS = ("bottom", "antibottom", "quark", "antiquark")
PAIRS = tuple(itertools.combinations(range(4), 2))


Events = dict[str, Array]
"""True four-momenta of simulated events, (4, n), by particle; 'resonance' is X."""


def breit_wigner(mass: float, width: float, count: int, rng: np.random.Generator, reach: float = 10.0) -> Array:
    """Draw masses of a Cauchy law with full width `width` at half maximum, cut off `reach` widths away."""
    edge = math.atan(2 * reach)
    drawn: Array = mass + 0.5 * width * np.tan(rng.uniform(-edge, edge, count))
    return drawn


def invariant_mass(p: Array) -> Array:
    """Return √(E² − |p|²) of (4, n) four-momenta; 0 where rounding makes it imaginary."""
    mass: Array = np.sqrt(np.maximum(p[0] ** 2 - p[1] ** 2 - p[2] ** 2 - p[3] ** 2, 0.0))
    return mass


def decay(
    parent: Array, mass: Array, first: Array | float, second: Array | float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Let parents decay into two bodies, isotropically in their rest frames.

    `parent` is (4, n) of mass `mass` (n,); `first` and `second` are the children's masses. Returns their four-momenta, (4, n) each.
    """
    count = len(mass)
    energy = (mass**2 + first**2 - second**2) / (2 * mass)
    size = np.sqrt(np.maximum(energy**2 - first**2, 0.0))
    cosine = rng.uniform(-1.0, 1.0, count)
    x, y = cosine_and_sine(rng.uniform(-math.pi, math.pi, count))
    sine = np.sqrt(1 - cosine**2)
    direction = size * np.stack([sine * x, sine * y, cosine])
    along = (parent[1:] * direction).sum(axis=0)  # P·k
    shift = along / (mass * (parent[0] + mass))
    children = []
    for sign, rest in ((1.0, energy), (-1.0, mass - energy)):
        child = np.empty_like(parent)
        child[0] = (parent[0] * rest + sign * along) / mass
        child[1:] = sign * direction + parent[1:] * (sign * shift + rest / mass)
        children.append(child)
    return children[0], children[1]


def generate(count: int, rng: np.random.Generator) -> Events:
    """Generate `count` signal events before any detector."""
    tops = breit_wigner(TOP, TOP_WIDTH, 2 * count, rng).reshape(2, count)
    ws = breit_wigner(W, W_WIDTH, 2 * count, rng).reshape(2, count)
    masses = breit_wigner(MASS, RELATIVE_WIDTH * MASS, count, rng, reach=5.0)
    x, y = SPREAD * rng.standard_normal((2, count))
    rapidity, transverse = RAPIDITY * rng.standard_normal(count), np.sqrt(masses**2 + x**2 + y**2)
    p = {"resonance": np.stack([transverse * np.cosh(rapidity), x, y, transverse * np.sinh(rapidity)])}
    p["top"], p["antitop"] = decay(p["resonance"], masses, tops[0], tops[1], rng)
    p["w_leptonic"], p["bottom"] = decay(p["top"], tops[0], ws[0], BOTTOM, rng)
    p["w_hadronic"], p["antibottom"] = decay(p["antitop"], tops[1], ws[1], BOTTOM, rng)
    p["lepton"], p["neutrino"] = decay(p["w_leptonic"], ws[0], 0.0, 0.0, rng)
    p["quark"], p["antiquark"] = decay(p["w_hadronic"], ws[1], 0.0, 0.0, rng)
    return p


def cosine_and_sine(angle: Array) -> tuple[Array, Array]:
    """Return both by the tangent of half the angle: one vectorised function instead of two that NumPy computes number by number."""
    tangent = np.tan(0.5 * angle)
    square = tangent * tangent
    inverse = 1 / (1 + square)
    return (1 - square) * inverse, 2 * tangent * inverse


def observe(p: Array) -> tuple[Array, Array, Array]:
    """Return transverse momentum, pseudorapidity and azimuth of four-momenta (4, …)."""
    pt = np.hypot(p[1], p[2])
    return pt, np.arcsinh(p[3] / pt), np.arctan2(p[2], p[1])


def massless(pt: Array, eta: Array, phi: Array) -> Array:
    """Return four-momenta (4, …) of massless particles."""
    up = np.exp(eta)
    down = 1 / up
    cosine, sine = cosine_and_sine(phi)
    return np.stack([0.5 * pt * (up + down), pt * cosine, pt * sine, 0.5 * pt * (up - down)])


def measure(events: Events, rng: np.random.Generator) -> Array:
    """Return what a detector makes of events: HEPMASS's 27 features of those it accepts, (accepted, 27)."""
    partons = np.stack([events[name] for name in JETS], axis=1)  # (4, 4 jets, n)
    pt, eta, phi = observe(partons)
    pt = pt * np.maximum(1 + np.sqrt(0.64 / partons[0] + 0.0025) * rng.standard_normal(pt.shape), 0.05)
    eta = eta + 0.02 * rng.standard_normal(eta.shape)
    phi = phi + 0.02 * rng.standard_normal(phi.shape)
    tags = rng.random(pt.shape) < np.array([TAG_EFFICIENCY, TAG_EFFICIENCY, MISTAG, MISTAG])[:, None]
    lepton_pt, lepton_eta, lepton_phi = observe(events["lepton"])
    lepton_pt = lepton_pt * (1 + 0.02 * rng.standard_normal(lepton_pt.shape))
    accepted = (pt > CUT_PT).all(axis=0) & (np.abs(eta) < CUT_ETA).all(axis=0) & tags.any(axis=0)
    accepted &= (lepton_pt > CUT_PT) & (np.abs(lepton_eta) < CUT_ETA)
    keep = np.flatnonzero(accepted)
    pt, eta, phi, tags = (values[:, keep] for values in (pt, eta, phi, tags))
    rank = (pt[:, None] < pt).sum(axis=1)  # a jet's place: how many are harder
    columns = np.arange(len(keep))
    for values in (pt, eta, phi, tags):
        values[rank, columns] = values.copy()
    jets = massless(pt, eta, phi)
    lepton = massless(lepton_pt[keep], lepton_eta[keep], lepton_phi[keep])
    recoil = -events["resonance"][1:3, keep] * (1 + 0.1 * rng.standard_normal((2, len(keep))))
    missing = -(jets[1:3].sum(axis=1) + lepton[1:3] + recoil) + 5.0 * rng.standard_normal((2, len(keep)))
    measured = [lepton_pt[keep], lepton_eta[keep], wrap(lepton_phi[keep])]
    measured += [np.hypot(*missing), np.arctan2(missing[1], missing[0]), 4.0 + rng.poisson(0.8, len(keep))]
    for jet in range(4):
        measured += [pt[jet], eta[jet], wrap(phi[jet]), tags[jet].astype(np.float64)]
    return np.stack([*measured, *reconstruct(jets, tags, lepton, missing)], axis=1)


def wrap(phi: Array) -> Array:
    """Map angles up to a turn outside [−π, π) inside."""
    return np.where(phi >= math.pi, phi - 2 * math.pi, np.where(phi < -math.pi, phi + 2 * math.pi, phi))


def reconstruct(jets: Array, tags: Array, lepton: Array, missing: Array) -> list[Array]:
    """Return m_lv, m_jj, m_jlv, m_jjb and m_WWbb of jets (4, 4 jets, n), b-tags (4 jets, n), lepton (4, n) and missing pT (2, n).

    The hadronic W is the pair with fewest b-tags, among those the one nearest m_W; of the two other jets the one that makes both top
    quarks' masses agree better with m_t goes to the leptonic side.
    """
    neutrino, m_lv = solve_neutrino(lepton, missing)
    columns = np.arange(jets.shape[2])
    pairs = np.stack([jets[:, i] + jets[:, j] for i, j in PAIRS], axis=1)
    pair_masses = invariant_mass(pairs)
    tagged = np.stack([tags[i].astype(np.float64) + tags[j] for i, j in PAIRS])
    chosen = np.argmin(np.abs(pair_masses - W) + 1e6 * tagged, axis=0)
    w_hadronic, m_jj = pairs[:, chosen, columns], pair_masses[chosen, columns]
    others = np.array([[k for k in range(4) if k not in pair] for pair in PAIRS])[chosen]
    w_leptonic = lepton + neutrino
    sides = []
    for leptonic, hadronic in ((0, 1), (1, 0)):
        top = invariant_mass(w_leptonic + jets[:, others[:, leptonic], columns])
        antitop = invariant_mass(w_hadronic + jets[:, others[:, hadronic], columns])
        sides.append((top, antitop))
    straight, crossed = (np.abs(top - TOP) + np.abs(antitop - TOP) for top, antitop in sides)
    m_jlv, m_jjb = (np.where(straight <= crossed, first, second) for first, second in zip(*sides, strict=True))
    return [m_lv, m_jj, m_jlv, m_jjb, invariant_mass(w_leptonic + jets.sum(axis=1))]


def solve_neutrino(lepton: Array, missing: Array) -> tuple[Array, Array]:
    """Return the neutrino's four-momentum (4, n) for which m_lv = m_W, and m_lv (n,).

    Of two solutions for p_z the one nearer 0; where there is none, its real part, at which m_lv is the transverse mass, above m_W.
    """
    pt_squared = lepton[1] ** 2 + lepton[2] ** 2
    missing_pt = np.hypot(missing[0], missing[1])
    product = lepton[1] * missing[0] + lepton[2] * missing[1]
    half = 0.5 * W**2 + product
    discriminant = half**2 - pt_squared * missing_pt**2
    middle = half * lepton[3] / pt_squared
    root = lepton[0] * np.sqrt(np.maximum(discriminant, 0.0)) / pt_squared
    pz = np.where(middle > 0, middle - root, middle + root)
    transverse_mass = np.sqrt(np.maximum(2 * (np.sqrt(pt_squared) * missing_pt - product), 0.0))
    neutrino = np.stack([np.hypot(missing_pt, pz), missing[0], missing[1], pz])
    return neutrino, np.maximum(transverse_mass, W)


def simulate(count: int, rng: np.random.Generator) -> Array:
    """Simulate HEPMASS's 27 features of `count` accepted events, (count, 27), in the units of `FEATURES`: GeV and radians."""
    parts: list[Array] = []
    missing = count
    while missing > 0:
        parts.append(measure(generate(CHUNK, rng), rng)[:missing])
        missing -= len(parts[-1])
    return np.concatenate([np.empty((0, len(FEATURES))), *parts])


@component("datasets", "hepmass-sim-full", "as hepmass-sim, as many rows as HEPMASS", kind="tabular", seeded=True)
@component("datasets", "hepmass-sim", "simulated events like HEPMASS's, D = 21; made here", kind="tabular", seeded=True)
def dataset(inputs: Inputs) -> Dataset:
    """Simulate signal events and preprocess them as MAF does HEPMASS; the split number is the seed of the simulation."""
    train, validation, test = SIZES[inputs.name]
    rows = simulate(train + validation + test, np.random.default_rng(inputs.split))
    fitted = rows[: train + validation]
    kept = continuous_columns(fitted)
    return tabular(
        inputs.label,
        {"train": fitted[:train, kept], "validation": fitted[train:, kept], "test": rows[len(fitted) :, kept]},
        standardising(fitted[:, kept], ddof=1),
        features=[FEATURES[i] for i in kept],
        protocol=f"simulated with seed {inputs.split}, mass {MASS:g} GeV, label 1; then MAF's for HEPMASS: columns that repeat dropped, "
        "standardised by train+validation",
        provenance="made here by bench.data.hepmass_sim, after the description of UCI HEPMASS",
    )
