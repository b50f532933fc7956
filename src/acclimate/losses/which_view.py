"""Which view of a row this is can be told from the view: the first from the second, an upright image from a turned one.

    mean_ij  - log softmax(s_ij)_j        s_ij: what is said of the j-th view of row i, one number a view

Nobody has to give the labels, for whoever makes the views knows them. With four quarter turns as views this is rotation prediction.

Gidaris, Singh, Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", 2018.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["WhichView"]


class WhichView(Loss):
    """In nats; a player gives what is said of the views, (rows, views, views or more), as `SecondViews` does.

    >>> import math, torch
    >>> seen = Seen(None, None, torch.zeros(2, 3), features={"views": torch.zeros(2, 4, 4)})
    >>> round(WhichView()(seen).item() / math.log(4), 4)
    1.0
    """

    needs: ClassVar[frozenset[str]] = frozenset({"features:views"})

    def __call__(self, seen: Seen) -> Tensor:
        views: Tensor = need(self, seen, "features:views")
        if views.shape[2] < views.shape[1]:
            raise LossError(
                f"WhichView tells {views.shape[1]} views apart, and {views.shape[2]} numbers are said of each: give the second "
                f"head outputs={views.shape[1]}"
            )
        return -seen.average(views.log_softmax(2).diagonal(dim1=1, dim2=2))  # (rows, views)
