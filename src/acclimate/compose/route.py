"""A learned gate that gives each token, or each row, its share of several adapters.

    y + sum_i g_i (a_i(y) - y)        g = softmax(R h / t), h what goes in; with ``top`` = k only the k largest, as one

The first ``settled`` children's rows of R are not trained: new children are added beside them (`acclimate.compose.modular`).
MoLA is this with more children in some layers than in others; X-LoRA with children that are frozen and all of them mixed;
PSEC with ``grain="row"``. Chen, Gao, Wang et al., "Higher Layers Need More LoRA Experts", 2024. Buehler, Buehler, "X-LoRA:
Mixture of Low-Rank Adapter Experts", 2024 (whose gate reads a first pass; this one reads the layer's own input). Liu, Li,
et al., "Skill Expansion and Composition in Parameter Space", 2025.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

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
    settled: int = 0
    learning_rate: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        positive(self, temperature=self.temperature)
        if self.grain not in ("token", "row"):
            raise MethodError(f"grain={self.grain!r} is neither 'token' nor 'row'")
        if not 0 <= self.settled < len(self.children):
            raise MethodError(f"settled={self.settled} cannot work: it lies below the {len(self.children)} children")
        if self.top is not None and not 1 <= self.top <= len(self.children):
            raise MethodError(f"top={self.top} cannot work: it lies between 1 and the {len(self.children)} children")

    class Module(Mixed):
        method: Route
        steady = False

        router0: Tensor
        prior0: Tensor

        def build(self, site: Site) -> None:
            self.width = width(site)
            settled = self.method.settled
            fresh = len(self.method.children) - settled
            self.router = zeros((fresh, self.width), site)
            self.prior = zeros((fresh,), site)
            if settled:
                self.register_buffer("router0", torch.zeros(settled, self.width, device=site.device))
                self.register_buffer("prior0", torch.zeros(settled, device=site.device))
            self.shares = nn.Identity()  # a place to listen at: the gates before the largest are taken
            self.chosen = nn.Identity()  # and after

        def routing(self) -> tuple[Tensor, Tensor]:
            """R and the prior of every child."""
            if not self.method.settled:
                return self.router, self.prior
            return torch.cat([self.router0, self.router]), torch.cat([self.prior0, self.prior])

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            seen = features(x, y, self.width, self.method.grain == "row")
            scores = linear(seen.float(), *self.routing()) / self.method.temperature
            return self.chosen(largest(self.shares(scores.softmax(-1)), self.method.top))


def largest(shares: Tensor, top: int | None) -> Tensor:
    """The largest shares, made to add up to one; the others zero.

    >>> largest(torch.tensor([0.5, 0.3, 0.2]), 1)
    tensor([1., 0., 0.])
    """
    if top is None or top == shares.shape[-1]:
        return shares
    kept, where = shares.topk(top, -1)
    return torch.zeros_like(shares).scatter(-1, where, kept / kept.sum(-1, keepdim=True))
