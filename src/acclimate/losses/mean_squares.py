"""Regression: the mean squared distance of the output from the labels.

    mean  (f(x) - y)^2

Legendre, "Nouvelles methodes pour la determination des orbites des cometes", 1805.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["MeanSquares"]


class MeanSquares(Loss):
    """In squared units of the labels, which are (rows,) or (rows, values) as ``seen.logits``, the model's output, is.

    >>> import torch
    >>> MeanSquares()(Seen(None, None, torch.ones(3, 1), labels=torch.zeros(3)))
    tensor(1.)
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __call__(self, seen: Seen) -> Tensor:
        labels: Tensor = need(self, seen, "labels")
        given = seen.logits
        if given.squeeze(-1).shape != labels.squeeze(-1).shape and given.shape != labels.shape:
            raise LossError(
                f"MeanSquares compares value by value, and the output is {tuple(given.shape)} and the labels are "
                f"{tuple(labels.shape)}: give one label for each value"
            )
        return (given - labels.reshape(given.shape).to(given.dtype)).square().mean()
