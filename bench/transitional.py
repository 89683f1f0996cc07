"""Registrations that have not yet moved beside their code."""

from gebm.components import component

_0 = component(
    "datasets",
    "digits",
    "scikit-learn's 1,797 real 8×8 digits; embedded",
    kind="image",
    target="bench.data.images:digits",
)(None)
_1 = component(
    "datasets",
    "gaussian-posterior",
    "linear base, quadratic energy; the latent posterior is Gaussian in closed form",
    kind="toy",
    target="bench.data.toys:gaussian_posterior",
)(None)
_2 = component(
    "datasets",
    "line",
    "base on a line in R³, bimodal data on a line beside it",
    kind="toy",
    target="bench.data.toys:line",
)(None)
_3 = component(
    "datasets",
    "circle",
    "base on a circle in R³, von Mises data on a larger circle beside it",
    kind="toy",
    target="bench.data.toys:circle",
)(None)
_4 = component(
    "datasets",
    "sphere",
    "base on a sphere in R⁴, von Mises–Fisher data on a larger sphere beside it",
    kind="toy",
    target="bench.data.toys:sphere",
)(None)
_5 = component(
    "datasets",
    "two-moons",
    "Gaussian base in the plane, data on two moons",
    kind="toy",
    target="bench.data.toys:two_moons",
)(None)
_6 = component(
    "datasets", "rings", "Gaussian base in the plane, data on two rings", kind="toy", target="bench.data.toys:rings"
)(None)
_7 = component(
    "datasets",
    "cifar10",
    "CIFAR-10, 32×32: 50,000 train, 2,000 validate, 8,000 test",
    kind="image",
    decoded=True,
    target="bench.data.official_images:cifar10",
)(None)
_8 = component(
    "datasets",
    "cifar10-test",
    "CIFAR-10, all 10,000 test images test: what real images score",
    kind="image",
    decoded=True,
    target="bench.data.official_images:cifar10_test",
)(None)
_9 = component(
    "datasets",
    "cifar10-jpeg75",
    "CIFAR-10 as JPEG of quality 75: real images, not the official bits",
    kind="image",
    decoded=True,
    target="bench.data.official_images:cifar10_jpeg75",
)(None)
_10 = component(
    "datasets",
    "fashion-mnist",
    "Fashion-MNIST, grey, framed to 32×32",
    kind="image",
    decoded=True,
    target="bench.data.official_images:fashion_mnist",
)(None)
_11 = component(
    "datasets",
    "imagenet32",
    "ImageNet at 32×32, npz form",
    kind="image",
    decoded=True,
    target="bench.data.official_images:imagenet32",
)(None)
_12 = component(
    "datasets",
    "celeba-32",
    "CelebA, aligned, centred square at 32×32; no classes",
    kind="image",
    decoded=True,
    target="bench.data.official_images:CELEBA_32",
)(None)
_13 = component(
    "datasets",
    "celeba-64",
    "CelebA, aligned, centred square at 64×64; no classes",
    kind="image",
    decoded=True,
    target="bench.data.official_images:CELEBA_64",
)(None)
_14 = component(
    "datasets",
    "lsun-bedroom",
    "LSUN bedrooms at 32×32; no classes; needs lmdb",
    kind="image",
    decoded=True,
    target="bench.data.official_images:lsun_bedroom",
)(None)
_15 = component(
    "datasets",
    "redwine",
    "UCI red wine, D = 11, DKEF protocol",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:REDWINE",
)(None)
_16 = component(
    "datasets",
    "whitewine",
    "UCI white wine, D = 11, DKEF protocol",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:WHITEWINE",
)(None)
_17 = component(
    "datasets",
    "parkinsons",
    "UCI Parkinsons telemonitoring, D = 15, DKEF protocol",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:PARKINSONS",
)(None)
_18 = component(
    "datasets",
    "hepmass-dkef",
    "HEPMASS, D = 22, DKEF protocol",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:HEPMASS",
)(None)
_19 = component(
    "datasets",
    "miniboone-dkef",
    "MINIBOONE, D = 43, DKEF protocol",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:MINIBOONE",
)(None)
_20 = component(
    "datasets",
    "redwine-original",
    "as redwine, whitened with all rows, test included, as published",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:REDWINE_ORIGINAL",
)(None)
_21 = component(
    "datasets",
    "whitewine-original",
    "as whitewine, whitened with all rows, test included, as published",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:WHITEWINE_ORIGINAL",
)(None)
_22 = component(
    "datasets",
    "parkinsons-original",
    "as parkinsons, whitened with all rows, test included, as published",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:PARKINSONS_ORIGINAL",
)(None)
_23 = component(
    "datasets",
    "hepmass-dkef-original",
    "as hepmass-dkef, whitened with all rows, test included, as published",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:HEPMASS_ORIGINAL",
)(None)
_24 = component(
    "datasets",
    "miniboone-dkef-original",
    "as miniboone-dkef, whitened with all rows, test included, as published",
    kind="tabular",
    seeded=True,
    target="bench.data.dkef:MINIBOONE_ORIGINAL",
)(None)
_25 = component("datasets", "power", "POWER, D = 6, MAF protocol", kind="tabular", target="bench.data.maf:power")(None)
_26 = component("datasets", "gas", "GAS, D = 8, MAF protocol", kind="tabular", target="bench.data.maf:gas")(None)
_27 = component(
    "datasets", "hepmass", "HEPMASS, D = 21, MAF protocol", kind="tabular", target="bench.data.maf:hepmass"
)(None)
_28 = component(
    "datasets", "miniboone", "MINIBOONE, D = 43, MAF protocol", kind="tabular", target="bench.data.maf:miniboone"
)(None)
_29 = component(
    "datasets", "bsds300", "BSDS300 patches, D = 63, MAF protocol", kind="tabular", target="bench.data.maf:bsds300"
)(None)
_30 = component(
    "datasets",
    "miniboone-small",
    "MINIBOONE, D = 43: MAF's validation split trains, its test split tests",
    kind="tabular",
    target="bench.data.maf:miniboone_small",
)(None)
_31 = component(
    "datasets",
    "hepmass-sim",
    "simulated collider events in HEPMASS's form, D = 21; made here",
    kind="tabular",
    seeded=True,
    target="bench.data.hepmass_sim:HEPMASS_SIM",
)(None)
_32 = component(
    "datasets",
    "hepmass-sim-full",
    "as hepmass-sim, as many rows as HEPMASS",
    kind="tabular",
    seeded=True,
    target="bench.data.hepmass_sim:HEPMASS_SIM_FULL",
)(None)
_33 = component(
    "datasets",
    "known-density-8",
    "a law of exact density and entropy, D = 8; made here",
    kind="tabular",
    seeded=True,
    target="bench.data.known_density:KNOWN_DENSITY_8",
)(None)
_34 = component(
    "datasets",
    "known-density-21",
    "a law of exact density and entropy, D = 21; made here",
    kind="tabular",
    seeded=True,
    target="bench.data.known_density:KNOWN_DENSITY_21",
)(None)
_35 = component(
    "datasets",
    "known-density-43",
    "a law of exact density and entropy, D = 43; made here",
    kind="tabular",
    seeded=True,
    target="bench.data.known_density:KNOWN_DENSITY_43",
)(None)
