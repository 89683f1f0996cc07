"""Names of components, what they are in a line, and where they are: datasets, models, samplers, metrics, suites.

Nothing heavy is imported to answer `bench list`; an entry's code is imported when it is used. A third party registers components from its
own package through entry points in the groups `gebm_bench.datasets`, `gebm_bench.models` and `gebm_bench.samplers`; what one loads to may
say `settings`, `fits`, `kind`, `seeded` and `decoded` as attributes, which mean what they mean for an `Entry`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

__all__ = ["Entry", "UnknownNameError", "closest", "entries", "get", "is_built_in", "suite_files"]

Kind = Literal["datasets", "models", "samplers"]


class UnknownNameError(LookupError):
    """No component of this name."""


@dataclass(frozen=True)
class Entry:
    """A component: its name, a line about it, and `module:attribute` where it is defined.

    `settings` enter a run's identity; what a model's say under `training` it has whatever the suite says. Those of a sampler are the
    settings it has, with their defaults. `fits` are the kinds of datasets that a model can be fitted to. A dataset's `kind` is image,
    tabular or toy; a `seeded` one has a split (or draw) for every seed, and its loader takes that seed after the folder; the loader of
    a `decoded` one takes a `bench.data.decoded.DecodedCache`.
    """

    name: str
    summary: str
    target: str
    settings: dict[str, Any] = field(default_factory=dict)
    fits: tuple[str, ...] = ("image",)
    kind: str = ""
    seeded: bool = False
    decoded: bool = False

    def load(self) -> Any:
        """Import and return what the entry names."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


TOY = ("toy",)
TABLE = ("tabular",)

ORIGINAL = "whitened with all rows, test included, as published"

TABULAR = (
    ("redwine", "UCI red wine, D = 11, DKEF protocol", "dkef:REDWINE", True),
    ("whitewine", "UCI white wine, D = 11, DKEF protocol", "dkef:WHITEWINE", True),
    ("parkinsons", "UCI Parkinsons telemonitoring, D = 15, DKEF protocol", "dkef:PARKINSONS", True),
    ("hepmass-dkef", "HEPMASS, D = 22, DKEF protocol", "dkef:HEPMASS", True),
    ("miniboone-dkef", "MINIBOONE, D = 43, DKEF protocol", "dkef:MINIBOONE", True),
    ("redwine-original", f"as redwine, {ORIGINAL}", "dkef:REDWINE_ORIGINAL", True),
    ("whitewine-original", f"as whitewine, {ORIGINAL}", "dkef:WHITEWINE_ORIGINAL", True),
    ("parkinsons-original", f"as parkinsons, {ORIGINAL}", "dkef:PARKINSONS_ORIGINAL", True),
    ("hepmass-dkef-original", f"as hepmass-dkef, {ORIGINAL}", "dkef:HEPMASS_ORIGINAL", True),
    ("miniboone-dkef-original", f"as miniboone-dkef, {ORIGINAL}", "dkef:MINIBOONE_ORIGINAL", True),
    ("power", "POWER, D = 6, MAF protocol", "maf:power", False),
    ("gas", "GAS, D = 8, MAF protocol", "maf:gas", False),
    ("hepmass", "HEPMASS, D = 21, MAF protocol", "maf:hepmass", False),
    ("miniboone", "MINIBOONE, D = 43, MAF protocol", "maf:miniboone", False),
    ("bsds300", "BSDS300 patches, D = 63, MAF protocol", "maf:bsds300", False),
    (
        "miniboone-small",
        "MINIBOONE, D = 43: MAF's validation split trains, its test split tests",
        "maf:miniboone_small",
        False,
    ),
    ("hepmass-sim", "simulated collider events in HEPMASS's form, D = 21; made here", "hepmass_sim:HEPMASS_SIM", True),
    ("hepmass-sim-full", "as hepmass-sim, as many rows as HEPMASS", "hepmass_sim:HEPMASS_SIM_FULL", True),
    ("known-density-8", "a law of exact density and entropy, D = 8; made here", "known_density:KNOWN_DENSITY_8", True),
    (
        "known-density-21",
        "a law of exact density and entropy, D = 21; made here",
        "known_density:KNOWN_DENSITY_21",
        True,
    ),
    (
        "known-density-43",
        "a law of exact density and entropy, D = 43; made here",
        "known_density:KNOWN_DENSITY_43",
        True,
    ),
)

IMAGES = (
    ("cifar10", "CIFAR-10, 32×32: 50,000 train, 2,000 validate, 8,000 test", "cifar10"),
    ("cifar10-test", "CIFAR-10, all 10,000 test images test: what real images score", "cifar10_test"),
    ("cifar10-jpeg75", "CIFAR-10 as JPEG of quality 75: real images, not the official bits", "cifar10_jpeg75"),
    ("fashion-mnist", "Fashion-MNIST, grey, framed to 32×32", "fashion_mnist"),
    ("imagenet32", "ImageNet at 32×32, npz form", "imagenet32"),
    ("celeba-32", "CelebA, aligned, centred square at 32×32; no classes", "CELEBA_32"),
    ("celeba-64", "CelebA, aligned, centred square at 64×64; no classes", "CELEBA_64"),
    ("lsun-bedroom", "LSUN bedrooms at 32×32; no classes; needs lmdb", "lsun_bedroom"),
)

BUILT_IN: dict[Kind, tuple[Entry, ...]] = {
    "datasets": (
        Entry("digits", "scikit-learn's 1,797 real 8×8 digits; embedded", "bench.data.images:digits", kind="image"),
        *(
            Entry(name, summary, f"bench.data.toys:{name.replace('-', '_')}", kind="toy")
            for name, summary in {
                "gaussian-posterior": "linear base, quadratic energy; the latent posterior is Gaussian in closed form",
                "line": "base on a line in R³, bimodal data on a line beside it",
                "circle": "base on a circle in R³, von Mises data on a larger circle beside it",
                "sphere": "base on a sphere in R⁴, von Mises–Fisher data on a larger sphere beside it",
                "two-moons": "Gaussian base in the plane, data on two moons",
                "rings": "Gaussian base in the plane, data on two rings",
            }.items()
        ),
        *(
            Entry(name, summary, f"bench.data.official_images:{target}", kind="image", decoded=True)
            for name, summary, target in IMAGES
        ),
        *(
            Entry(name, summary, f"bench.data.{target}", kind="tabular", seeded=seeded)
            for name, summary, target, seeded in TABULAR
        ),
    ),
    "models": (
        Entry(
            "gebm",
            "GEBM by KALE on an implicit base; energy refitted on the frozen base",
            "bench.images.models:LatentModel",
            {"objective": "gebm.objectives:Kale", "has_energy": True},
        ),
        Entry(
            "gebm-dv",
            "GEBM by the Donsker–Varadhan objective on an implicit base",
            "bench.images.models:LatentModel",
            {"objective": "gebm.objectives:DonskerVaradhan", "has_energy": True},
        ),
        Entry(
            "gebm-dv-ma",
            "likewise, with a moving average of Z in the gradient",
            "bench.images.models:LatentModel",
            {"objective": "gebm.objectives:MovingAverageDonskerVaradhan", "has_energy": True},
        ),
        Entry(
            "gebm-cd",
            "GEBM by contrastive divergence on an implicit base, 10 steps of ULA an energy step",
            "bench.images.models:LatentModel",
            {"objective": "gebm.objectives:ContrastiveDivergence", "has_energy": True},
        ),
        Entry(
            "gan-hinge",
            "GAN with the hinge loss, the GEBM's own networks",
            "bench.images.models:LatentModel",
            {"objective": "baselines.gan:Hinge", "has_energy": False},
        ),
        Entry(
            "gan-ns",
            "GAN with the non-saturating loss, the GEBM's own networks",
            "bench.images.models:LatentModel",
            {"objective": "baselines.gan:NonSaturating", "has_energy": False},
        ),
        Entry(
            "wgan-gp",
            "Wasserstein GAN, gradient penalty around 1 of weight 10, the GEBM's own networks",
            "bench.images.models:LatentModel",
            {
                "objective": "baselines.gan:Wasserstein",
                "has_energy": False,
                "training": {"penalty": 10.0, "penalty_norm": 1.0, "penalty_points": "interpolates"},
            },
        ),
        Entry(
            "data",
            "held-out real data in a model's place: the floor of every score",
            "bench.images.models:HeldOutData",
            {"has_energy": False, "one_seed": True},
        ),
        Entry(
            "toy-known",
            "the toy's base with the energy that is right for it",
            "bench.chains.models:ToyModel",
            {"has_energy": True},
            TOY,
        ),
        *(
            Entry(
                f"toy-{name}",
                f"the toy's base with an energy learned by {how}",
                "bench.chains.models:ToyModel",
                {"objective": objective, "has_energy": True},
                TOY,
            )
            for name, objective, how in (
                ("kale", "gebm.objectives:Kale", "KALE"),
                ("dv", "gebm.objectives:DonskerVaradhan", "the Donsker–Varadhan objective"),
                (
                    "cd",
                    "bench.chains.models:persistent_contrastive_divergence",
                    "contrastive divergence, persistent chains of ULA",
                ),
            )
        ),
        *(
            Entry(
                name,
                summary,
                "bench.densities.models:EstimatedDensity",
                {"density": density, "has_energy": False},
                TABLE,
            )
            for name, summary, density in (
                ("kde", "Gaussian kernels, bandwidth by validation", "kernel"),
                ("gmm", "mixture of full-covariance Gaussians, their number by validation", "mixture"),
            )
        ),
        *(
            Entry(
                f"flow-{flow}",
                f"{name} by maximum likelihood",
                "bench.densities.models:FlowModel",
                {"flow": flow, "has_energy": False},
                TABLE,
            )
            for flow, name in (
                ("gaussian", "full-covariance Gaussian"),
                ("realnvp", "RealNVP"),
                ("maf", "masked autoregressive flow"),
                ("nsf", "rational-quadratic neural spline flow, coupling"),
                ("nsf-ar", "rational-quadratic neural spline flow, autoregressive"),
            )
        ),
        *(
            Entry(
                f"gebm-{name}",
                summary,
                "bench.densities.models:FlowGEBM",
                {"flow": "realnvp", "objective": objective, "joint": name.startswith("flow"), "has_energy": True},
                TABLE,
            )
            for name, objective, summary in (
                ("flow-kale", "gebm.objectives:Kale", "GEBM on a RealNVP, flow and energy trained jointly by KALE"),
                ("flow-dv", "gebm.objectives:DonskerVaradhan", "likewise by the Donsker–Varadhan objective"),
                ("flow-cd", "gebm.objectives:ContrastiveDivergence", "likewise by contrastive divergence"),
                (
                    "frozen-kale",
                    "gebm.objectives:Kale",
                    "GEBM on the frozen maximum-likelihood RealNVP, energy by KALE",
                ),
                ("frozen-dv", "gebm.objectives:DonskerVaradhan", "likewise, energy by Donsker–Varadhan"),
            )
        ),
        Entry(
            "gebm-critic",
            "GEBM on the frozen RealNVP with a flow critic: log Z known, density that of flow-maf",
            "bench.densities.models:CriticGEBM",
            {"flow": "realnvp", "critic": "maf", "has_energy": True},
            TABLE,
        ),
    ),
    "samplers": (
        Entry(
            "ula", "unadjusted Langevin: biased, at first order in its step", "gebm.samplers:ULA", {"step_size": 0.01}
        ),
        Entry("mala", "Metropolis-adjusted Langevin", "gebm.samplers:MALA", {"step_size": 0.01}),
        Entry("hmc", "Hamiltonian Monte Carlo", "gebm.samplers:HMC", {"step_size": 0.1, "leapfrog_steps": 10}),
        Entry(
            "kinetic",
            "kinetic (underdamped) Langevin, ABOBA: biased, at first order in its step",
            "gebm.samplers:KineticLangevin",
            {"step_size": 0.01, "friction": 1.0},
        ),
        Entry(
            "kinetic-adjusted",
            "kinetic Langevin with a Metropolis correction",
            "gebm.samplers:AdjustedKineticLangevin",
            {"step_size": 0.01, "friction": 10.0},
        ),
        Entry("rwm", "random-walk Metropolis", "gebm.samplers:RandomWalk", {"step_size": 0.1}),
        Entry("pcn", "preconditioned Crank–Nicolson", "gebm.samplers:PreconditionedCrankNicolson", {"step_size": 0.1}),
        Entry("independent", "independent Metropolis–Hastings from the prior", "gebm.samplers:IndependentMH"),
        Entry("i-sir", "iterated sampling–importance resampling", "gebm.samplers:IteratedSIR", {"candidates": 16}),
        Entry(
            "ex2",
            "Ex²MCMC: an i-SIR step, then MALA moves",
            "gebm.samplers:Ex2MCMC",
            {"candidates": 16, "step_size": 0.01, "moves": 4},
        ),
        Entry(
            "tempering",
            "parallel tempering over β with MALA moves of one step size",
            "bench.chains.samplers:parallel_tempering",
            {"step_size": 0.01, "ladder": (0.0, 0.1, 0.3, 1.0)},
        ),
    ),
}


@cache
def entries(kind: Kind) -> dict[str, Entry]:
    """All components of a kind by name, built-in ones first."""
    found = {entry.name: entry for entry in BUILT_IN[kind]}
    for point in entry_points(group=f"gebm_bench.{kind}"):
        distribution = point.dist.name if point.dist else "an installed package"
        found.setdefault(point.name, Entry(point.name, f"from {distribution}", point.value))
    return found


def get(kind: Kind, name: str) -> Entry:
    """The component of that name.

    Raises:
        UnknownNameError: naming the nearest valid choice.
    """
    known = entries(kind)
    if name not in known:
        raise UnknownNameError(f"no {kind.removesuffix('s')} '{name}'; {closest(name, known)}")
    entry = known[name]
    if is_built_in(kind, name):
        return entry
    loaded = entry.load()
    told = {
        key: getattr(loaded, key) for key in ("settings", "fits", "kind", "seeded", "decoded") if hasattr(loaded, key)
    }
    return replace(entry, **told)


def is_built_in(kind: Kind, name: str) -> bool:
    """Whether a component ships with the harness, so that its settings are known here."""
    return any(entry.name == name for entry in BUILT_IN[kind])


def suite_files() -> dict[str, Path]:
    """The suites that ship with the harness, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parents[1] / "suites").glob("*.toml"))}


def closest(name: str, known: Iterable[str]) -> str:
    """'did you mean …?' for a name, or the list of what there is."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(known)}"
