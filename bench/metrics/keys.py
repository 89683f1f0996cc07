"""What a score depends on besides the images; light, so that reports read keys without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["ScoreKey"]


@dataclass(frozen=True)
class ScoreKey:
    """Everything that two scores must share to stand in one column (FID moves more with protocol than with method).

    Attributes:
        dataset: name of the dataset of the reference images, for the reader.
        split: name of the reference split, for the reader.
        reference_digest: sha256 of the reference images' content; this, not the name, is what identifies them.
        n_real: number of reference images.
        n_generated: number of generated images.
        extractor: name of the feature extractor.
        extractor_digest: sha256 of its weights.
        extractor_accuracy: share of held-out images that an in-domain classifier gets right; None where that is not known.
        resizer: how images were brought to the extractor's size.
        dtype: precision inside the extractor; the statistics of the features are formed in float64.
        torch_fidelity: version of the library whose formulas were used.
        infinity_sizes: numbers of generated images whose Fréchet distances are extrapolated.
        kid_subsets: number of subsets that KID averages over.
        kid_subset_size: images in each of them.
        isc_splits: number of parts of which the Inception Score is the mean.
        neighbours: k of the k-nearest-neighbour balls of precision and recall.
        random_seed: of the subsets of KID and of the shuffling before the Inception Score's parts.
    """

    dataset: str
    split: str
    reference_digest: str
    n_real: int
    n_generated: int
    extractor: str
    extractor_digest: str
    extractor_accuracy: float | None
    resizer: str
    dtype: str
    torch_fidelity: str
    infinity_sizes: tuple[int, ...]
    kid_subsets: int
    kid_subset_size: int
    isc_splits: int
    neighbours: int
    random_seed: int

    def to_dict(self) -> dict[str, Any]:
        """The key as JSON has it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ScoreKey:
        """The key that `to_dict` gave.

        Raises:
            ValueError: if a field is missing or unknown; the message names it.
        """
        names = {field.name for field in fields(cls)}
        if wrong := names.symmetric_difference(value):
            raise ValueError(f"not a score key: missing or unknown {', '.join(sorted(wrong))}")
        return cls(**{**value, "infinity_sizes": tuple(value["infinity_sizes"])})

    def __str__(self) -> str:
        accuracy = (
            "" if self.extractor_accuracy is None else f" ({self.extractor_accuracy:.1%} right on held-out images)"
        )
        sizes = self.infinity_sizes
        infinity = f"{sizes[0]:,} to {sizes[-1]:,} in {len(sizes)}" if sizes else "none"
        return (
            f"{self.n_generated:,} generated vs {self.n_real:,} real ({self.dataset}/{self.split} "
            f"{self.reference_digest[:8]}), {self.extractor} {self.extractor_digest[:8]}{accuracy}, resize {self.resizer}, "
            f"{self.dtype}, torch-fidelity {self.torch_fidelity}, ∞ from {infinity}, KID {self.kid_subsets}×{self.kid_subset_size}, "
            f"IS {self.isc_splits} splits, P/R k={self.neighbours}, seed {self.random_seed}"
        )
