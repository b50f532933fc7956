"""What the adapter's own modules ask to be kept small: vectors that should be orthonormal, for one.

sum over modules of module.penalty()
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["Penalty"]


class Penalty(Loss):
    """The sum of the ``penalty()`` of every module that has one; a `LossError` where none has.

    >>> 0.1 * Penalty()
    0.1 * Penalty()
    """

    needs: ClassVar[frozenset[str]] = frozenset({"modules"})

    def __call__(self, seen: Seen) -> Tensor:
        modules: list[nn.Module] = need(self, seen, "modules")
        asked = [module.penalty() for module in modules if hasattr(module, "penalty")]  # type: ignore[operator]
        if not asked:
            raise LossError(
                "Penalty() has nothing to keep small: no method here has a penalty (AdaLoRA, SORSA, HRA have)"
            )
        return torch.stack([value.to(seen.logits) for value in asked]).sum()
