"""The changes of frozen adapters, each times a number that is learned: one in all, one a site, or one a channel.

    y + sum_i l_i (a_i(y) - y)        l: (children,) or (children, out), ``start`` at first, not bound to add up to one

Frohmann, Holtermann, Masoudian, Lauscher, Rekabsaz, "ScaLearn: Simple and Highly Parameter-Efficient Task Transfer by
Learning to Scale", 2024 (a channel; a site, "Uniform"; all, "++"). Zhang, Albert, Rodriguez-Opazo, van den Hengel,
Abbasnejad, "Knowledge Composition using Task Vectors with Learned Anisotropic Scaling", 2024 (a site, over task vectors).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from acclimate.compose.node import Mixed, Node
from acclimate.compose.tree import Composition
from acclimate.engine import MethodError
from acclimate.sites import Site

__all__ = ["Learned"]


class Learned(Composition, init=False):
    """``each`` says what has a number of its own. ``start``: None is 1 / n.

    >>> Learned("a", "b", each="all").start is None
    True
    """

    each: Literal["all", "site", "channel"] = "site"
    start: float | None = None
    learning_rate: ClassVar[float] = 1e-2

    def __post_init__(self) -> None:
        if self.each not in ("all", "site", "channel"):
            raise MethodError(f"each={self.each!r} is none of 'all', 'site' and 'channel'")

    def tie(self, modules: Sequence[Node]) -> None:
        if self.each == "all":
            for module in modules[1:]:
                module.scale = modules[0].scale

    class Module(Mixed):
        method: Learned

        def build(self, site: Site) -> None:
            count = len(self.method.children)
            start = 1 / count if self.method.start is None else self.method.start
            channels = (site.width,) if self.method.each == "channel" and site.kind != "attention" else ()
            self.scale = nn.Parameter(torch.full((count, *channels), start, device=site.device))

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            return self.scale
