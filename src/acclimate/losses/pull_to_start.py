"""Stay near where the trained parameters began.

    1/2 sum_j |w_j - w_j(0)|^2

Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018 (L2-SP).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from acclimate.losses.loss import Loss, Seen
from acclimate.losses.need import need

__all__ = ["PullToStart"]


class PullToStart(Loss):
    """Half the squared distance, summed over every element; at the start it is zero and so is its gradient.

    >>> start = [(torch.ones(2), torch.zeros(2))]
    >>> PullToStart()(Seen(None, None, torch.zeros(1, 2), start=start))
    tensor(1.)
    """

    needs: ClassVar[frozenset[str]] = frozenset({"start"})

    def __call__(self, seen: Seen) -> Tensor:
        pairs: list[tuple[Tensor, Tensor]] = need(self, seen, "start")
        logits = seen.logits
        return torch.stack([(now - first.detach()).square().sum().to(logits) for now, first in pairs]).sum() / 2
