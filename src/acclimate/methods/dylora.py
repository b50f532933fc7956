"""A low-rank update that works at every rank up to its own: while it is trained, each forward draws how much it uses.

    W + (alpha / b) B[:, :b] A[:b]        b ~ U{1 .. rank} in training; b = keep, or the rank, otherwise

Valipour, Rezagholizadeh, Kobyzev, Ghodsi, "DyLoRA: Parameter Efficient Tuning of Pre-trained Models using Dynamic
Search-Free Low-Rank Adaptation", 2023.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.engine import MethodError
from acclimate.methods.lora import LoRA

__all__ = ["DyLoRA"]


class DyLoRA(LoRA):
    """``keep`` is the rank that is used outside of training, None for all of it.

    >>> DyLoRA(rank=8, keep=2).keep
    2
    """

    keep: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.init not in ("uniform", "gaussian", "orthogonal", "eva"):
            raise MethodError(
                f"init={self.init!r} starts from a product of full rank, which cannot be cut: start from zero"
            )
        if self.keep is not None and not 1 <= self.keep <= self.rank:
            raise MethodError(f"keep={self.keep} cannot work: it lies between 1 and rank={self.rank}")

    class Module(LoRA.Module):
        method: DyLoRA

        def _columns(self) -> Tensor:
            """What each column of B counts: alpha / b for the first b, nothing for the others; (..., 1, rank)."""
            rank = self.method.rank
            alpha = rank if self.method.alpha is None else self.method.alpha
            order = torch.arange(rank, device=self.up.device)
            if not self.training:
                kept = self.method.keep or rank
                return (order < kept) * (alpha / kept)
            # Drawn from the factors' own bits, which every update changes: no random state is used up, and a forward that
            # is run again, by a checkpoint or after a restart, draws the same.
            bits = torch.stack([f[..., 0, 0].float() for f in (self.up, self.down)], -1).view(torch.int32).long()
            drawn = ((bits.sum(-1) * 2654435761 % 2**32) * rank // 2**32).unsqueeze(-1)
            return ((order <= drawn) * (alpha / (drawn + 1))).unsqueeze(-2)

        def weight(self, W: Tensor) -> Tensor:
            return W + (self.up * self._columns()) @ self.down

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            return y + self.layout.mix(self.layout.project(x, self.down), self.up * self._columns()).to(y.dtype)
