"""Networks without the spectral norm that their family gives them."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

__all__ = ["remove_spectral_norm"]


def remove_spectral_norm(network: nn.Module) -> None:
    """Make every layer's weight the plain parameter that its spectral norm normalised, in place.

    Example:
        >>> from torch.nn.utils.parametrizations import spectral_norm
        >>> layer = spectral_norm(nn.Linear(2, 1))
        >>> remove_spectral_norm(layer)
        >>> [name for name, _ in layer.named_parameters()]
        ['bias', 'weight']
    """
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)
