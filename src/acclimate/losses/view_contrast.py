"""Views of one row are alike, and unlike the views of all others.

    mean_ij mean_(k != j)  - log  exp(z_ij . z_ik / temperature) / sum_(z != z_ij) exp(z_ij . z / temperature)

z_ij is what is said of the j-th view of row i, of length 1; z runs over all views of all rows. With two
views it is the loss of SimCLR.

Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", 2020.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["ViewContrast"]


class ViewContrast(Loss):
    """Two views of a row at least, given by a player (rows, views, values), as `SecondViews` does.

    >>> views = torch.eye(3).unsqueeze(1).expand(3, 2, 3)
    >>> ViewContrast(temperature=0.01)(Seen(None, None, torch.zeros(3, 2), features={"views": views})) < 1e-6
    tensor(True)
    """

    temperature: float = 0.5

    needs: ClassVar[frozenset[str]] = frozenset({"features:views"})

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise LossError(f"ViewContrast(temperature={self.temperature}) cannot work: it must be above 0")

    def __call__(self, seen: Seen) -> Tensor:
        views: Tensor = need(self, seen, "features:views")
        rows, count = views.shape[:2]
        if count < 2:
            raise LossError("ViewContrast compares views of one row, and there is one: give the player views=2")
        z = F.normalize(views, dim=2).flatten(0, 1)
        itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        log_p = (z @ z.mT / self.temperature).masked_fill(itself, -torch.inf).log_softmax(1)
        row = torch.arange(rows, device=z.device).repeat_interleave(count)
        partners = (row.unsqueeze(1) == row) & ~itself
        each = log_p.masked_fill(~partners, 0.0).sum(1) / (count - 1)
        return -seen.average(each.view(rows, count))
