"""Say different things of different rows: the mean prediction of the batch is even.

    - H(mean_i p_i)

With the entropy of each row it is `InformationMaximisation`; alone it lets rows stay unsure.

Liang, Hu, Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain Adaptation", 2020;
alone: Chen, Wang, Darrell, Ebrahimi, "Contrastive Test-Time Adaptation", 2022.
"""

from __future__ import annotations

from torch import Tensor

from acclimate.losses.loss import Loss, Seen
from acclimate.losses.probability import entropy_of, log_mean

__all__ = ["Diversity"]


class Diversity(Loss):
    """From 0, one class for everything, to - log(classes); the batch should be large against the classes.

    >>> import math, torch
    >>> round(Diversity()(Seen(None, None, 100 * torch.eye(4))).item() / math.log(4), 4)
    -1.0
    """

    def __call__(self, seen: Seen) -> Tensor:
        return -entropy_of(log_mean(seen.logits)).sum()
