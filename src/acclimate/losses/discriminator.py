"""A small network that tells two domains apart: one logit a row, above 0 for the source.

    w3 relu(W2 relu(W1 h + b1) + b2) + b3

It ends in a logit and not in a probability: a softmax over one unit is 1 whatever goes in, and teaches nothing.

Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky, "Domain-Adversarial Training of Neural
Networks", 2016.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """Features (rows, channels) to logits (rows,); drawn from the global random state.

    >>> import torch
    >>> Discriminator(8, width=16)(torch.zeros(3, 8)).shape
    torch.Size([3])
    """

    def __init__(self, channels: int, width: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(channels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.layers(features)
        return logits.squeeze(-1)
