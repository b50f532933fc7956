"""Low-rank update of a matrix.

    W + (alpha / rank) B A        A: (rank, in), drawn at random; B: (out, rank), zero at first

Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, positive, zeros
from acclimate.sites import Site

__all__ = ["LoRA"]


class LoRA(Method):
    """Low-rank update, ``W + (alpha / rank) B A``. ``alpha=None`` means ``alpha = rank``.

    >>> LoRA(rank=8)
    LoRA(rank=8, alpha=None)
    """

    rank: int = 8
    alpha: float | None = None

    at: ClassVar[str] = "attention"

    def __post_init__(self) -> None:
        positive(self, rank=self.rank, alpha=self.alpha or 1)

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def fits(self, site: Site) -> bool:
        return len(site.shape) > 1 and min(site.shape[-2:]) > 1

    class Module(AdapterModule):
        broadcasts = True
        method: LoRA

        def build(self, site: Site) -> None:
            *stack, rows, columns = site.shape
            rank = self.method.rank
            bound = 1 / math.sqrt(columns)
            down = torch.empty(*stack, rank, columns).uniform_(-bound, bound)
            self.down = nn.Parameter(down.to(site.device))  # (rank, in)
            self.up = zeros((*stack, rows, rank), site)  # (out, rank)

        def weight(self, W: Tensor) -> Tensor:
            return W + self.method.scale * (self.up @ self.down)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            z = self.layout.project(x, self.down)
            return y + (self.method.scale * self.layout.mix(z, self.up)).to(y.dtype)
