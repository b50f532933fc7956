"""A loss on other views of the rows as if they were the rows: a teacher's label for what the augmented row is taken for.

    mean_j loss(what is said of view j)

OnViews(PseudoLabel(of="teacher"))   beside   Views(), EMATeacher()
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from acclimate.losses.entropy import Entropy
from acclimate.losses.loss import Loss, Seen
from acclimate.losses.need import need

__all__ = ["OnViews"]


class OnViews(Loss):
    """``loss`` sees the answers to one view after another in the place of the model's own; a player gives the views.

    >>> views = {"views": torch.zeros(2, 3, 1)}
    >>> OnViews(Entropy())(Seen(None, None, torch.ones(2, 3), features=views)) == 0
    tensor(True)
    """

    loss: Loss = Entropy()

    def wants(self) -> frozenset[str]:
        return self.loss.wants() | {"features:views"}

    def __call__(self, seen: Seen) -> Tensor:
        views: Tensor = need(self, seen, "features:views")  # (rows, views, classes)
        return torch.stack([self.loss(dataclasses.replace(seen, logits=each)) for each in views.unbind(1)]).mean()
