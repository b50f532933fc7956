"""The outputs of a layer turned and scaled in pairs.

    (y_a, y_b) <- s_p (cos t_p y_a - sin t_p y_b,  sin t_p y_a + cos t_p y_b)        each="pair"
    the same with an angle and a size for each channel                              each="channel"

Within groups of ``group`` channels the first half is paired with the second. At first t = 0 and s = 1. The same turn of W's rows
and of the bias is the merged form. Liao, Monz, "3-in-1: 2D Rotary Adaptation for Efficient Finetuning, Efficient Batching and
Composability", 2024.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from acclimate.engine import AdapterModule, Method, MethodError, ones, positive, zeros
from acclimate.sites import Site

__all__ = ["RoAd"]


class RoAd(Method):
    """``group`` is even and divides the channels; 2 pairs neighbours.

    >>> RoAd(group=64).each
    'pair'
    """

    group: int = 2
    each: Literal["pair", "channel"] = "pair"
    at: ClassVar[str] = "attention"

    def __post_init__(self) -> None:
        positive(self, group=self.group)
        if self.group % 2 or self.each not in ("pair", "channel"):
            raise MethodError(f"group={self.group}, each={self.each!r}: give an even group, and 'pair' or 'channel'")

    def refuses(self, site: Site) -> str:
        if len(site.shape) != 2 or min(site.shape) < 2:
            return "needs a single matrix"
        return (
            "" if site.shape[0] % self.group == 0 else f"pairs channels in groups of {self.group}, which divides theirs"
        )

    def fits(self, site: Site) -> bool:
        return not self.refuses(site)

    class Module(AdapterModule):
        method: RoAd

        def build(self, site: Site) -> None:
            count = site.shape[0] // (2 if self.method.each == "pair" else 1)
            self.angle, self.size = zeros((count,), site), ones((count,), site)

        def turned(self, v: Tensor) -> Tensor:
            """The turn along the last axis, (..., channels)."""
            half = self.method.group // 2
            a, b = v.to(self.angle.dtype).reshape(*v.shape[:-1], -1, 2, half).unbind(-2)
            cos, sin = self.size * self.angle.cos(), self.size * self.angle.sin()
            if self.method.each == "pair":
                c0 = c1 = cos.reshape(-1, half)
                s0 = s1 = sin.reshape(-1, half)
            else:
                (c0, c1), (s0, s1) = (t.reshape(-1, 2, half).unbind(1) for t in (cos, sin))
            return torch.stack([c0 * a - s0 * b, c1 * b + s1 * a], -2).reshape(v.shape)

        def weight(self, W: Tensor) -> Tensor:
            return self.turned(W.mT).mT.contiguous()

        def bias(self, b: Tensor | None) -> Tensor | None:
            return None if b is None else self.turned(b)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            axis = self.layout.axis(y)
            return self.turned(y.movedim(axis, -1)).movedim(-1, axis).contiguous().to(y.dtype)
