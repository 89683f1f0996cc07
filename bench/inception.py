"""The published extractor: its name and the files of its weights."""

from __future__ import annotations

__all__ = ["INCEPTION", "INCEPTION_FILES", "INCEPTION_SHA256"]

INCEPTION = "inception-v3-compat"
"""The one extractor whose Fréchet distance is called FID."""

INCEPTION_FILES = ("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth")
"""Names under which its weights are published: by torch-fidelity and by pytorch-fid, the same content."""

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
