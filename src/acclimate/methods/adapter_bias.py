"""One direction added to every token, as much as the token asks for.

    h + alpha(h) v        alpha(h) = w^T h + c, one number a token; v: zero at first

Fu, Huang, Chang, Lee, "AdapterBias: Parameter-efficient Token-dependent Representation Shift for Adapters in NLP Tasks",
2022.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, zeros
from acclimate.sites import Kind, Site
from acclimate.sites.layout import linear

__all__ = ["AdapterBias"]


class AdapterBias(Method):
    """A token-dependent shift of a module's output along its channels: 2 d + 1 parameters.

    >>> AdapterBias()
    AdapterBias()
    """

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "mlp"

    def fits(self, site: Site) -> bool:
        return site.channels is not None

    class Module(AdapterModule):
        method: AdapterBias

        def build(self, site: Site) -> None:
            width = site.width
            self.ask = nn.Parameter((torch.randn(1, width) / math.sqrt(width)).to(site.device))
            self.offset = zeros((1,), site)
            self.shift = zeros((width,), site)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            axis = self.layout.axis(y)
            asked = linear(y.movedim(axis, -1), self.ask, self.offset) * self.shift.to(y.dtype)
            return y + asked.movedim(-1, axis)
