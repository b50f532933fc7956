"""Quantile regression: each output is a quantile of what the label may be.

    mean  max(p (y - q_p), (p - 1) (y - q_p))        over rows and levels p

Koenker, Bassett, "Regression Quantiles", 1978.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["Pinball"]


class Pinball(Loss):
    """``levels`` in order, one an output, () for as many as there are at equal distances; labels are (rows,).

    >>> Pinball((0.1, 0.9))(Seen(None, None, torch.zeros(1, 2), labels=torch.ones(1)))
    tensor(0.5000)
    """

    levels: tuple[float, ...] = ()
    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __post_init__(self) -> None:
        if list(self.levels) != sorted(set(self.levels)) or any(not 0 < level < 1 for level in self.levels):
            raise LossError(f"Pinball(levels={self.levels}) cannot work: levels lie between 0 and 1, in order")

    def __call__(self, seen: Seen) -> Tensor:
        labels: Tensor = need(self, seen, "labels")
        count = seen.logits.shape[-1]
        if self.levels and len(self.levels) != count:
            raise LossError(f"Pinball has {len(self.levels)} levels, and the model {count} outputs: give one for each")
        levels = seen.logits.new_tensor(self.levels or [(n + 1) / (count + 1) for n in range(count)])
        missing = labels.reshape(-1, 1).to(seen.logits.dtype) - seen.logits
        return torch.maximum(levels * missing, (levels - 1) * missing).mean()
