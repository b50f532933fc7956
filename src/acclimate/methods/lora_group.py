"""A group of low-rank updates of one matrix, kept apart from what the matrix reads and from each other.

    W + s sum_i B_i A_i        penalty: p sum_i |W A_i^T|^2 + d sum_(i<j) |A_i A_j^T|^2        (squared Frobenius norms)

The first term preserves: an update reads little of what W answers to. The second makes the updates diverse.

Hu, Zhang, Qi, Shi, Gao, "Learn to Preserve and Diversify: Parameter-Efficient Group with Orthogonal Regularization for
Domain Generalization", 2024 (PEGO). Which norm the paper takes is not known here: squares are used.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.engine import positive
from acclimate.methods.lora import LoRA
from acclimate.sites import Site

__all__ = ["LoRAGroup"]


class LoRAGroup(LoRA):
    """``members`` low-rank updates of the same rank: LoRA of all their ranks, with a penalty.

    >>> LoRAGroup(rank=2, members=4).rows
    8
    """

    rank: int = 4
    members: int = 4
    preserve: float = 1.0
    diversify: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, members=self.members)

    @property
    def rows(self) -> int:
        return self.rank * self.members

    class Module(LoRA.Module):
        units = {}
        method: LoRAGroup
        base: Tensor

        def build(self, site: Site) -> None:
            super().build(site)
            self.register_buffer("base", site.value().float().clone(), persistent=False)

        def penalty(self) -> Tensor:
            own, read = self.method, self.down @ self.base.mT  # (..., ranks, out)
            gram = (self.down @ self.down.mT).square()
            own_block = torch.eye(own.members, device=gram.device).repeat_interleave(own.rank, 0)  # (ranks, members)
            between = gram * (1 - own_block @ own_block.mT)
            return own.preserve * read.square().sum() + own.diversify * between.sum() / 2
