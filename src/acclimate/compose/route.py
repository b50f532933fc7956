"""A learned gate that gives each token, or each row, its share of several adapters.

    y + sum_i g_i (a_i(y) - y)        g = softmax(R h / t), h what goes in; with ``top`` = k only the k largest, as one

MoLA is this with more children in some layers than in others; X-LoRA with children that are frozen and all of them mixed;
PSEC with ``grain="row"``. Chen, Gao, Wang et al., "Higher Layers Need More LoRA Experts", 2024. Buehler, Buehler, "X-LoRA:
Mixture of Low-Rank Adapter Experts", 2024 (whose gate reads a first pass; this one reads the layer's own input). Liu, Li,
et al., "Skill Expansion and Composition in Parameter Space", 2025.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from acclimate.compose.node import Mixed
from acclimate.compose.reading import features, width
from acclimate.compose.tree import Composition
from acclimate.engine import MethodError, positive, zeros
from acclimate.sites import Site, linear

__all__ = ["Route", "largest"]


class Route(Composition, init=False):
    """``top`` children for each token or row (None: all of them).

    >>> Route("a", "b", top=1).grain
    'token'
    """

    top: int | None = None
    grain: Literal["token", "row"] = "token"
    temperature: float = 1.0
    learning_rate: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        positive(self, temperature=self.temperature)
        if self.grain not in ("token", "row"):
            raise MethodError(f"grain={self.grain!r} is neither 'token' nor 'row'")
        if self.top is not None and not 1 <= self.top <= len(self.children):
            raise MethodError(f"top={self.top} cannot work: it lies between 1 and the {len(self.children)} children")

    class Module(Mixed):
        method: Route
        steady = False

        def build(self, site: Site) -> None:
            self.width = width(site)
            self.router = zeros((len(self.method.children), self.width), site)
            self.prior = zeros((len(self.method.children),), site)

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            seen = features(x, y, self.width, self.method.grain == "row")
            scores = linear(seen.float(), self.router, self.prior) / self.method.temperature
            return largest(scores.softmax(-1), self.method.top)


def largest(shares: Tensor, top: int | None) -> Tensor:
    """The largest shares, made to add up to one; the others zero.

    >>> largest(torch.tensor([0.5, 0.3, 0.2]), 1)
    tensor([1., 0., 0.])
    """
    if top is None or top == shares.shape[-1]:
        return shares
    kept, where = shares.topk(top, -1)
    return torch.zeros_like(shares).scatter(-1, where, kept / kept.sum(-1, keepdim=True))
