"""A second head that answers another question about the same features; the model's own answer stays what it is.

    s = V relu(U pool(h) + a) + c        U: (width, channels), V: (outputs, width);   width 0:  s = V pool(h) + c

At a linear layer h is what goes into it, elsewhere what the site puts out. What it says is heard, not given: a player listens
(`SecondViews`), so that a loss can teach by it. Taught once where the network comes from, it lets a network learn later from inputs
alone: what the features have to say of the second question they have to say of the first.

Sun, Wang, Liu, Miller, Efros, Hardt, "Test-Time Training with Self-Supervision for Generalization under Distribution Shifts", 2020;
as a projector: Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", 2020.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, normal, positive, zeros
from acclimate.sites import Kind, Site, linear

__all__ = ["SecondHead"]


class SecondHead(Method):
    """``outputs`` numbers a row, through ``width`` hidden ones or (0) none. Name the place: ``at="head"`` for the last features.

    >>> SecondHead(outputs=4).width
    0
    """

    outputs: int = 4
    width: int = 0

    kind: ClassVar[Kind] = "call"
    learning_rate: ClassVar[float] = 1e-2
    exceptions = {"effect": "what it says is heard by a player, and the model's own answer stays what it is"}

    def __post_init__(self) -> None:
        positive(self, outputs=self.outputs)
        if self.width < 0:
            raise MethodError(f"width={self.width} cannot work: it is a number of hidden values, 0 for none")

    def fits(self, site: Site) -> bool:
        return False

    class Module(AdapterModule):
        method: SecondHead

        def build(self, site: Site) -> None:
            self.enters = isinstance(site.module, nn.Linear)
            channels = site.module.in_features if isinstance(site.module, nn.Linear) else site.width
            width, outputs = self.method.width, self.method.outputs
            if width:
                self.hidden = normal((width, channels), math.sqrt(2 / channels), site)
                self.threshold = zeros((width,), site)
            self.matrix = normal((outputs, width or channels), 1 / math.sqrt(width or channels), site)
            self.offset = zeros((outputs,), site)
            self.answer = nn.Identity()  # a place to listen at: what the head says

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            h = pooled(x, -1) if self.enters else pooled(y, self.layout.axis(y))
            if self.method.width:
                h = F.relu(linear(h, self.hidden, self.threshold))
            self.answer(linear(h, self.matrix, self.offset))
            return y


def pooled(h: Tensor, axis: int) -> Tensor:
    """One vector a row: the mean over all but the channels."""
    return h if h.dim() < 3 else h.movedim(axis, -1).flatten(1, -2).mean(1)
