"""GEBM Bench: runs, stores, scores and reports comparisons of GEBMs with GANs and flows."""

__version__ = "0.1.0"
