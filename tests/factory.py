"""Models as a user would name them on the command line."""

from __future__ import annotations

import torch
from torch import nn

NOT_A_MODEL = 3


class Tiny(nn.Module):
    acclimate_roles = {"out": "head"}

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.out = nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        self.again = nn.Linear(4, 8)
        self.again.weight = self.first.weight

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.out(self.norm(self.first(x) + self.again(x)))


def tiny() -> nn.Module:
    return Tiny()


def fixed() -> nn.Module:
    """With the same weights each time, as a pretrained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Tiny()


def deep() -> nn.Module:
    """As `fixed`, and nothing in it is read twice."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def wants(width: int) -> nn.Module:
    return nn.Linear(width, width)


def number() -> int:
    return 1
