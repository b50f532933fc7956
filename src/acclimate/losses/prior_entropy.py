"""Be sure of each prediction, and on the whole in the proportions that are known beforehand.

    mean_i sum_k  - v_k p_ik log p_ik  +  weight KL(mean p || prior)           direction="mean"
                                       +  weight KL(prior || mean p)           direction="prior"

The mean is over the pixels of each image where there are any, otherwise over the batch. With the uniform prior and
v = 1, ``direction="mean"`` is `InformationMaximisation` + log(classes).

Bateson, Kervadec, Dolz, Lombaert, Ben Ayed, "Source-Free Domain Adaptation for Image Segmentation", 2022, whose
published code has KL(mean || prior). The other direction asks hardest where a class of the prior is missing.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.probability import entropy_of, log_mean

__all__ = ["PriorEntropy"]


class PriorEntropy(Loss):
    """``prior``: the expected share of each class, () for equal shares; ``importance``: v, () for ones.

    >>> PriorEntropy(prior=(0.9, 0.1)).direction
    'mean'
    """

    prior: tuple[float, ...] = ()
    weight: float = 1.0
    direction: Literal["mean", "prior"] = "mean"
    importance: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.direction not in ("mean", "prior"):
            raise LossError(f"PriorEntropy(direction={self.direction!r}) cannot work: it is 'mean' or 'prior'")
        if not self.prior:
            return
        if abs(sum(self.prior) - 1) > 1e-4 or min(self.prior) < 0:
            raise LossError(f"PriorEntropy(prior={self.prior}) cannot work: shares are not negative and add up to 1")
        if self.direction == "mean" and not min(self.prior) > 0:
            raise LossError(
                f"PriorEntropy(prior={self.prior}) is infinite for a class with share 0: give it a small share, or "
                "direction='prior'"
            )

    def __call__(self, seen: Seen) -> Tensor:
        logits = seen.logits
        classes = logits.shape[1]
        for name, given in (("prior", self.prior), ("importance", self.importance)):
            if given and len(given) != classes:
                raise LossError(f"PriorEntropy has {len(given)} values in {name}, and the model has {classes} classes")
        log_p = logits.log_softmax(1)
        if self.importance:
            values = logits.new_tensor(self.importance).view(-1, *[1] * (logits.dim() - 2))
            certain = -(values * log_p.exp() * log_p).sum(1).mean()
        else:
            certain = entropy_of(log_p).mean()
        prior = logits.new_tensor(self.prior) if self.prior else logits.new_full((classes,), 1 / classes)
        parts = [logits] if logits.dim() == 2 else [image.unsqueeze(0) for image in logits]
        means = torch.cat([log_mean(part) for part in parts])  # (images or 1, classes)
        return certain + self.weight * self._divergence(means, prior).mean()

    def _divergence(self, log_mean: Tensor, prior: Tensor) -> Tensor:
        if self.direction == "mean":
            return (log_mean.exp() * (log_mean - prior.log())).sum(1)
        return -torch.special.entr(prior).sum() - (prior * log_mean).sum(1)
