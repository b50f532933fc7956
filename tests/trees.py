"""Random trees of random adapters at random sites, the same for the same seed."""

from __future__ import annotations

import random
from typing import Any

import torch
from table import METHODS, shake
from torch import Tensor, nn
from torch.nn import functional as F

import acclimate as acc
from acclimate.compose import Average, Fuse, Learned, Nearest, Parallel, Route, Split, Stack, Told
from acclimate.engine import MethodError
from acclimate.sites import SiteError

__all__ = ["BATCH", "Network", "grow", "network", "planted"]

BATCH = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(1))


class Attention(nn.Module):
    acclimate_attention = (2, 2, 4)

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(8, 8) for _ in range(3))
        self.heads, self.head_dim = 2, 4

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (each(x).unflatten(-1, (2, 4)).transpose(1, 2) for each in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Network(nn.Module):
    """A little of everything: linear layers, a norm, an attention and a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.attention = nn.Linear(8, 8), nn.LayerNorm(8), Attention()
        self.conv, self.last = nn.Conv1d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm(self.first(x).tanh()))
        return self.last(self.conv(x.mT).mT.tanh())


def network() -> Network:
    torch.manual_seed(0)
    return Network().eval().requires_grad_(False)


_PLACES = ["first.weight", "last.weight", "*weight", "conv.weight", "attention", "first", "*", "attention.q.weight"]


def planted(model: nn.Module, seed: int, names: str = "abcd") -> list[str]:
    """Adapters of random methods at random sites, as if trained; their descriptions, for a failure to say."""
    draw = random.Random(seed)
    pool: dict[str, list[Any]] = {}
    for name, method in METHODS.items():
        if name not in ("Head", "LAME"):
            pool.setdefault("weight" if method.kind == "weight" else "passing", []).append(method)
    said = []
    for name in names:
        while name not in acc.adapters(model):
            kind = "weight" if draw.random() < 0.7 else "passing"  # whatever methods there come to be
            method, at = draw.choice(pool[kind]), draw.choice(_PLACES)
            try:
                shake(acc.attach(model, method, at=at, name=name, data=BATCH), seed=len(said))
            except (MethodError, SiteError):
                continue
            said.append(f"{name}={method}@{at}")
    return said


def grow(draw: random.Random, names: str = "abcd", depth: int = 3) -> Any:
    """A random tree over adapters of these names."""
    count = draw.randint(1, 3)
    children = [
        grow(draw, names, depth - 1) if depth > 1 and draw.random() < 0.4 else draw.choice(names) for _ in range(count)
    ]
    steady = draw.random() < 0.5
    node = draw.choice([Average, Parallel, Stack, Learned] if steady else [Fuse, Route, Split, Nearest, Told])
    settings: dict[str, Any] = {}
    if node is Average and draw.random() < 0.5:
        settings = {"weights": [draw.uniform(-1, 1) for _ in children]}
    if node is Told:
        settings = {"otherwise": draw.randrange(len(children))}
    if node is Split:
        settings = {"begin": sorted(draw.sample(range(1, 5), count - 1))}
    if node is Learned:
        settings = {"each": draw.choice(["all", "site", "channel"])}
    if node is Fuse:
        settings = {"size": 3}
    if node is Route:
        settings = {"grain": draw.choice(["token", "row"]), "top": draw.choice([None, 1])}
    if node is Nearest:
        settings = {"by": "centroid", "top": draw.choice([None, 1])}
    return node(*children, **settings)
