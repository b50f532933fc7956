"""A map of a model's embeddings that can be undone, and is undone before its head.

    NICE    u = a + F(b),           v = b + G(u)                       (a, b): the halves of the channels
    GLOW    u = e(s) * a + t,       v = e(s') * b + t'                 (s, t) = F(b), (s', t') = G(u)

e(s) = exp(c tanh(s / c)), c = 3: no channel grows or shrinks by more than exp(3). F and G are networks of one hidden layer whose
last matrix is zero at first. At the embedding the map reads what the module puts out; at a site whose role is ``head`` its inverse
reads what goes in. Sites of one width have one map.

Pfeiffer, Vulić, Gurevych, Ruder, "MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer", 2020. Dinh, Krueger,
Bengio, "NICE: Non-linear Independent Components Estimation", 2015. Kingma, Dhariwal, "Glow: Generative Flow with Invertible 1x1
Convolutions", 2018 (of it the affine coupling).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, normal, positive, zeros
from acclimate.engine.glimpse import Glimpse
from acclimate.methods.bottleneck import entering
from acclimate.sites import Kind, Site, linear

__all__ = ["Invertible"]

_BOUND = 3.0
_ROLES = ("down", "down_bias", "up", "up_bias")


class Invertible(Method):
    """``at`` an embedding, or an embedding and the head behind it; ``scales`` is GLOW's factor. ``reduction`` thins F and G.

    >>> Invertible(scales=True).reduction
    2
    """

    scales: bool = False
    reduction: int = 2

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        positive(self, reduction=self.reduction)

    def fits(self, site: Site) -> bool:
        return site.role == "embedding" and site.channels is not None and site.channels > 1

    def refuses(self, site: Site) -> str:
        return "" if self.width(site) > 1 else "splits the channels in two"

    def width(self, site: Site) -> int:
        """The channels that pass: those that go into a head, and that come out of anything else."""
        return entering(site, site.width) if site.role == "head" else site.width

    def share(self, sites: Sequence[Site], look: Glimpse | None) -> list[Mapping[str, nn.Parameter]]:
        made: dict[int, Mapping[str, nn.Parameter]] = {}
        return [made.setdefault(self.width(site), self.networks(site)) for site in sites]

    def networks(self, site: Site) -> Mapping[str, nn.Parameter]:
        """F and G, for the channels that pass a site."""
        first, made = self.width(site) // 2, {}
        second = self.width(site) - first
        for name, into, out in (("upper", second, first), ("lower", first, second)):
            narrow, wide = max(1, into // self.reduction), out * (2 if self.scales else 1)
            made[f"{name}_down"] = normal((narrow, into), 1 / math.sqrt(into), site)
            made[f"{name}_down_bias"] = zeros((narrow,), site)
            made[f"{name}_up"], made[f"{name}_up_bias"] = zeros((wide, narrow), site), zeros((wide,), site)
        return made

    class Module(AdapterModule):
        method: Invertible

        upper_up: nn.Parameter

        def build(self, site: Site) -> None:
            self.undoes = site.role == "head"
            self.split = self.upper_up.shape[0] // (2 if self.method.scales else 1)

        def moved(self, name: str, part: Tensor, by: Tensor, back: bool) -> Tensor:
            """One half moved by what a network makes of the other, or moved back."""
            down, down_bias, up, up_bias = (getattr(self, f"{name}_{role}") for role in _ROLES)
            told = linear(linear(by, down, down_bias).relu(), up, up_bias)
            if not self.method.scales:
                return part - told if back else part + told
            sized, shift = told.chunk(2, -1)
            size = (_BOUND * torch.tanh(sized / _BOUND)).exp()
            return (part - shift) / size if back else size * part + shift

        def mapped(self, z: Tensor) -> Tensor:
            """(..., channels) to as many."""
            a, b = z[..., : self.split], z[..., self.split :]
            u = self.moved("upper", a, b, back=False)
            return torch.cat([u, self.moved("lower", b, u, back=False)], -1)

        def undone(self, z: Tensor) -> Tensor:
            """The inverse of `mapped`."""
            u, v = z[..., : self.split], z[..., self.split :]
            b = self.moved("lower", v, u, back=True)
            return torch.cat([self.moved("upper", u, b, back=True), b], -1)

        def input(self, x: Tensor) -> Tensor:
            return self.undone(x).to(x.dtype) if self.undoes else x

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if self.undoes:
                return y
            axis = self.layout.axis(y)
            return self.mapped(y.movedim(axis, -1)).movedim(-1, axis).to(y.dtype)
