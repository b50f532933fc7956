"""The changes of several adapters added, or averaged: gates that are given.

    Parallel   y + sum_i (a_i(y) - y)
    Average    y + sum_i w_i (a_i(y) - y)        w: 1 / n each, unless given

At weights this is the exact average of the adapted weights, whatever the methods: never of their factors. A child that
does not sit at some site leaves the base there its share.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.compose.node import Mixed
from acclimate.compose.tree import Composition
from acclimate.engine import MethodError
from acclimate.sites import Site

__all__ = ["Average", "Parallel"]


class Average(Composition, init=False):
    """``weights``, one a child, need not add up to one: task arithmetic negates with them.

    >>> Average("a", "b", weights=[0.3, 0.7])
    Average(a, b, weights=(0.3, 0.7))
    """

    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None and len(self.weights) != len(self.children):
            raise MethodError(f"{len(self.weights)} weights for {len(self.children)} adapters: give one for each")

    @property
    def shares(self) -> tuple[float, ...]:
        return self.weights or (1 / len(self.children),) * len(self.children)

    class Module(Mixed):
        method: Average
        share: Tensor

        def build(self, site: Site) -> None:
            self.register_buffer("share", torch.tensor(self.method.shares, device=site.device), persistent=False)

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            return self.share


class Parallel(Average, init=False):
    """All children beside each other, on the same input, their changes added.

    >>> Parallel("a", Average("b", "c")).shares
    (1.0, 1.0)
    """

    @property
    def shares(self) -> tuple[float, ...]:
        return self.weights or (1.0,) * len(self.children)
