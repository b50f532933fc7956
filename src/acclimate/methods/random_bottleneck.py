"""A layer whose parameters meet the input in one dot product: random features of the input, and a matrix that is learned.

    y + s (U psi(h) + e)        psi(h) = f(G h / sqrt(d)); G: (m, d), normal, drawn by a seed and never trained

A layer f(W h) has an entry for each row w of W, a kernel of w and h; with random features of both it is Phi(w) . psi(h), and
Phi is learned as it is, together with what would follow it. For f = relu the kernel is the arc-cosine one,

    (d / m) E[psi(w)^T psi(h)] = |w| |h| (sin a + (pi - a) cos a) / (2 pi),    a the angle between w and h

Sehanobish, Choromanski, Zhao, Dubey, Likhosherstov, "Scalable Neural Network Kernels", 2024. Cho, Saul, "Kernel Methods
for Deep Learning", 2009 (the kernel).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acclimate.engine import MethodError, zeros
from acclimate.methods.bottleneck import Bottleneck
from acclimate.sites import Site, linear

__all__ = ["RandomBottleneck", "arc_cosine"]


class RandomBottleneck(Bottleneck):
    """``width`` random features; adapters of one ``seed`` have the same. The features are in no file.

    >>> RandomBottleneck(width=32, activation="relu").seed
    0
    """

    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise MethodError(f"seed={self.seed} cannot work: it counts from 0")

    class Module(Bottleneck.Module):
        units = {}
        method: RandomBottleneck
        features: Tensor  # (width, channels)

        def make(self, site: Site, into: int, wide: int) -> None:
            many = self.method.width
            drawn = torch.randn(many, into, generator=torch.Generator().manual_seed(self.method.seed))
            self.register_buffer("features", drawn.to(site.device) / math.sqrt(into), persistent=False)
            self.up = zeros((wide, many), site)  # (channels, width)
            self.up_bias = zeros((wide,), site)

        def middle(self, h: Tensor) -> Tensor:
            return self.act(linear(h, self.features))


def arc_cosine(w: Tensor, h: Tensor) -> Tensor:
    """What relu features estimate, for rows of (n, channels) and (m, channels): (n, m).

    >>> arc_cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 0.0]])).round(decimals=4)
    tensor([[1.0000, 0.5000]])
    """
    sizes = w.norm(dim=-1, keepdim=True) * h.norm(dim=-1)
    angle = (w @ h.mT / sizes).clamp(-1, 1).acos()
    return sizes * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)
