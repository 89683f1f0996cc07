"""Shared by all tests: shapes and types of the library are checked at every call; no test depends on time or on the number of cores."""

from __future__ import annotations

import warnings

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # beartype's remarks on importing torch's own types
    install_import_hook(["gebm", "baselines"], "beartype.beartype")

torch.set_num_threads(1)  # small tensors, and other tests run beside these

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
