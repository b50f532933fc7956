"""Two views of a row are alike, and unlike what is remembered of rows of other classes.

    mean_i  - log  exp(a_i0 / temperature) / sum_j exp(a_ij / temperature)

a_i0 is the cosine of the row's features and its key, a_ij that with the j-th key of a queue, minus infinity where the queue's
row is taken to be of the same class (`ContrastingTeacher` gives them).

He, Fan, Wu, Xie, Girshick, "Momentum Contrast for Unsupervised Visual Representation Learning", 2020; without rows of the same
class: Chen, Wang, Darrell, Ebrahimi, "Contrastive Test-Time Adaptation", 2022 (temperature .07).
"""

from __future__ import annotations

from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["QueueContrast"]


class QueueContrast(Loss):
    """Reads ``seen.features["contrast"]`` (rows, 1 + queue); 0 where nothing is in the queue yet.

    >>> import math, torch
    >>> seen = Seen(None, None, torch.zeros(2, 2), features={"contrast": torch.zeros(2, 8), "views": torch.zeros(2, 1, 2)})
    >>> round(QueueContrast()(seen).item() / math.log(8), 4)
    1.0
    """

    temperature: float = 0.07

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise LossError(f"QueueContrast(temperature={self.temperature}) cannot work: it must be above 0")

    def wants(self) -> frozenset[str]:
        return frozenset({"features:views"})

    def __call__(self, seen: Seen) -> Tensor:
        need(self, seen, "features:views")
        alike = seen.features.get("contrast")
        if alike is None:
            raise LossError(
                "QueueContrast compares with a queue, and nobody keeps one: add the player ContrastingTeacher()"
            )
        return -seen.average((alike / self.temperature).log_softmax(1)[:, 0])
