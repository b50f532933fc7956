"""A bottleneck whose output is weighed by a gate as coarse or as fine as one likes.

    y + s G * (U f(D h + c) + e)        G = sigmoid of

    each       P (Q h) + t       a gate for each token and channel; Q: (gate_width, channels), P back
    token      w^T h + t         one for each token
    channel    t                 one for each channel
    whole      t                 one for all

Hu, Li, Lyu, Wang, "VL-PET: Vision-and-Language Parameter-Efficient Tuning via Granularity Control", 2023, where these are
large, middle-X, middle-Y and small. With t so large that G is one it is `Bottleneck`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from acclimate.engine import MethodError, normal, positive, zeros
from acclimate.methods.bottleneck import Bottleneck
from acclimate.sites import Site, linear

__all__ = ["GranularBottleneck"]


class GranularBottleneck(Bottleneck):
    """``gate`` says how fine: "each", "token", "channel" or "whole".

    >>> GranularBottleneck(width=8, gate="token").gate
    'token'
    """

    gate: Literal["each", "token", "channel", "whole"] = "each"
    gate_width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, gate_width=self.gate_width)
        if self.gate not in ("each", "token", "channel", "whole"):
            raise MethodError(f"gate={self.gate!r} is none of 'each', 'token', 'channel' and 'whole'")

    class Module(Bottleneck.Module):
        units = {}
        method: GranularBottleneck

        def make(self, site: Site, into: int, wide: int) -> None:
            super().make(site, into, wide)
            gate, narrow = self.method.gate, self.method.gate_width
            self.offset = zeros((wide if gate in ("each", "channel") else 1,), site)
            if gate == "each":
                self.ask = normal((narrow, into), 1 / math.sqrt(into), site)
                self.answer = normal((wide, narrow), 1 / math.sqrt(narrow), site)
            elif gate == "token":
                self.ask = normal((1, into), 1 / math.sqrt(into), site)

        def gated(self, h: Tensor) -> Tensor:
            """G, of a shape that broadcasts over (..., channels)."""
            if self.method.gate in ("channel", "whole"):
                return torch.sigmoid(self.offset)
            asked = linear(h, self.ask)
            if self.method.gate == "each":
                asked = linear(asked, self.answer)
            return torch.sigmoid(asked + self.offset.to(asked.dtype))

        def change(self, h: Tensor) -> Tensor:
            return self.gated(h).to(h.dtype) * super().change(h)
