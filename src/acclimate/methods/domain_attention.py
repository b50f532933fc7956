"""Attend to the parts of a feature by how well their domain can be told: what gives it away is what alignment should work on.

    y_j (1 + w_j),    w_j = 1 - H(d_j(y_j)) in bits,    d_j(y) = sigmoid(u_j . gelu(D_j y + c_j))

y is (rows, parts, channels): frames, relations between frames, patches. d_j is a discriminator of two domains, one for all parts or
one for each, and u is zero at first: nobody can tell, w is 0, and nothing has changed. It is taught by the gradient of the task
and by `AttendedAdversarial`, which asks it for the domain.

Chen, Kira, AlRegib, Yoo, Chen, Zheng, "Temporal Attentive Alignment for Large-Scale Video Domain Adaptation", 2019 (TA3N; the
entropy is in nats in its code, so that w is at least .31 there, and its discriminators have relu).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, normal, positive, zeros
from acclimate.sites import Kind, Site

__all__ = ["DomainAttention", "certainty"]


def certainty(logits: Tensor) -> Tensor:
    """1 - H(p) in bits of a yes or no, from its logit: 0 where nobody knows, 1 where it is certain.

    >>> certainty(torch.tensor([0.0, 100.0]))
    tensor([0., 1.])
    """
    z = logits.detach()
    p = torch.stack([torch.sigmoid(z), torch.sigmoid(-z)])
    value = 1 + (p * p.clamp_min(torch.finfo(p.dtype).tiny).log2()).sum(0)
    slope = z * p.prod(0) / math.log(2)  # written out: near 0 the terms of autograd cancel
    return value + slope * (logits - z)


class DomainAttention(Method):
    """Discriminators of ``width`` on what a module puts out; ``parts=1`` is one for every part, however many there are.

    >>> DomainAttention(width=16).parts
    1
    """

    width: int = 64
    parts: int = 1

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "mlp"

    def __post_init__(self) -> None:
        positive(self, width=self.width, parts=self.parts)

    def fits(self, site: Site) -> bool:
        return site.channels is not None and site.leaf and site.path != ""

    class Module(AdapterModule):
        method: DomainAttention

        def build(self, site: Site) -> None:
            wide, own = site.width, self.method
            self.down = normal((own.parts, own.width, wide), 1 / math.sqrt(wide), site)
            self.down_bias = zeros((own.parts, own.width), site)
            self.up = zeros((own.parts, own.width), site)

        def tell(self, y: Tensor) -> Tensor:
            """Logits of the source, (..., parts), for features (..., parts, channels)."""
            if self.method.parts > 1 and (y.dim() < 2 or y.shape[-2] != self.method.parts):
                raise MethodError(f"{self.method} tells the domain of that many parts, and was given {tuple(y.shape)}")
            down, bias, up = self.down, self.down_bias, self.up
            middle = (down.to(y.dtype) @ y.unsqueeze(-1)).squeeze(-1) + bias.to(y.dtype)  # (..., parts, width)
            logits: Tensor = (F.gelu(middle) * up.to(y.dtype)).sum(-1)
            return logits

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            axis = self.layout.axis(y)
            attention = 1 + certainty(self.tell(y.movedim(axis, -1)))
            return y * attention.unsqueeze(-1).movedim(-1, axis).to(y.dtype)
