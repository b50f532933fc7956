"""Attention over what several frozen adapters make of the same input.

    y + sum_i p_i V (a_i(y) - y)        p = softmax_i(<Q y, K a_i(y)>); V is the identity at first

Pfeiffer, Kamath, Rücklé, Cho, Gurevych, "AdapterFusion: Non-Destructive Task Composition for Transfer Learning", 2021.
There V acts on the outputs; here on the changes, so that one adapter and V = I are that adapter, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.compose.node import Mixed
from acclimate.compose.tree import Composition
from acclimate.engine import positive
from acclimate.sites import Site, linear

__all__ = ["Fuse"]


class Fuse(Composition, init=False):
    """``size`` is the width of queries and keys.

    >>> Fuse("a", "b").size
    16
    """

    size: int = 16
    learning_rate: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        positive(self, size=self.size)

    class Module(Mixed):
        method: Fuse
        steady = False

        def build(self, site: Site) -> None:
            assert site.kind != "attention" or site.heads is not None
            out = site.heads[0] * site.heads[2] if site.kind == "attention" and site.heads else site.width
            drawn = torch.randn(2, self.method.size, out, device=site.device) / math.sqrt(out)
            self.query, self.key = nn.Parameter(drawn[0].clone()), nn.Parameter(drawn[1].clone())
            self.value = nn.Parameter(torch.eye(out, device=site.device))

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            return y  # `mixed` makes them, which knows what the children make of it

        def _by_factors(self, x: Tensor, y: Tensor, gates: Tensor) -> Tensor | None:
            return None

        def mixed(self, y: Tensor, changed: Sequence[Tensor | None], gates: Tensor) -> Tensor:
            own = self._last(y)
            made = [own if each is None else self._last(each) for each in changed]
            keys = torch.stack([linear(each, self.key) for each in made], -2)  # (..., children, size)
            query = linear(own, self.query).unsqueeze(-1)
            shares = (keys @ query).squeeze(-1).div(math.sqrt(self.method.size)).softmax(-1)
            change = sum((shares[..., i, None] * (each - own) for i, each in enumerate(made)), torch.zeros_like(own))
            return y + self._back(linear(change, self.value), y).to(y.dtype)

        def _last(self, y: Tensor) -> Tensor:
            """With the channels behind."""
            if "among" in self.faces:
                return y.transpose(1, 2).flatten(2)
            return y.movedim(self.layout.axis(y), -1)

        def _back(self, change: Tensor, y: Tensor) -> Tensor:
            if "among" in self.faces:
                return change.reshape(*change.shape[:2], y.shape[1], y.shape[3]).transpose(1, 2)
            return change.movedim(-1, self.layout.axis(y))
