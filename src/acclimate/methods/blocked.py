"""A low-rank update for each block of a matrix, so that as many parameters as LoRA's reach a rank that is higher.

    W_ij + (alpha / rank) B_ij A_ij        i, j: ``blocks`` by ``blocks``; A_ij: (rank / blocks, in / blocks)

Jung, Ahn, Jeon, Cha, Kim, Lee, "GraLoRA: Granular Low-Rank Adaptation for Parameter-Efficient Fine-Tuning", 2025.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, MethodError, no_matrix, positive, zeros
from acclimate.sites import Site

__all__ = ["GraLoRA"]


class GraLoRA(Method):
    """``rank`` is shared out among the blocks of a row, so ``blocks`` divides it.

    >>> GraLoRA(rank=32, blocks=2).blocks
    2
    """

    rank: int = 32
    blocks: int = 2
    alpha: float | None = None
    at: ClassVar[str] = "attention"

    def __post_init__(self) -> None:
        positive(self, rank=self.rank, blocks=self.blocks, alpha=self.alpha or 1)
        if self.rank % self.blocks:
            raise MethodError(f"rank={self.rank} cannot be shared among blocks={self.blocks}: give a multiple")

    def refuses(self, site: Site) -> str:
        return no_matrix(site, self.blocks)

    def fits(self, site: Site) -> bool:
        return not self.refuses(site)

    class Module(AdapterModule):
        method: GraLoRA

        def build(self, site: Site) -> None:
            own, (out, into) = self.method, site.shape
            k, thin = own.blocks, own.rank // own.blocks
            self.scale = 1.0 if own.alpha is None else own.alpha / own.rank
            drawn = (2 * torch.rand(k, k, thin, into // k) - 1) / math.sqrt(into // k)
            self.down = nn.Parameter(drawn.to(site.device))  # (blocks, blocks, rank / blocks, in / blocks)
            self.up = zeros((k, k, out // k, thin), site)

        def delta(self) -> Tensor:
            product = (self.up @ self.down).movedim(2, 1)  # (row of blocks, row, column of blocks, column)
            return self.scale * product.flatten(2).flatten(0, 1)

        def weight(self, W: Tensor) -> Tensor:
            return W + self.delta()
