"""Cross-entropy among the classes of the batch alone: what is taught now says nothing against classes of other times.

    mean_i  - log (exp z_i[y_i] / sum over c in the batch's labels of exp z_i[c])

Gao et al., "A Unified Continual Learning Framework with General Parameter-Efficient Tuning", 2023 (there among the task's classes).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.losses.labels import IGNORED, given_labels
from acclimate.losses.loss import Loss, Seen

__all__ = ["LocalCrossEntropy"]


class LocalCrossEntropy(Loss):
    """Cross-entropy in nats, without the classes that no row of the batch has. Rows labelled -100 do not count.

    >>> LocalCrossEntropy()(Seen(None, None, torch.zeros(2, 10), labels=torch.tensor([0, 3]))).exp()
    tensor(2.)
    """

    needs: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __call__(self, seen: Seen) -> Tensor:
        labels = given_labels(self, seen)
        here, local = torch.unique(labels[labels != IGNORED], return_inverse=True)
        among = torch.full_like(labels, IGNORED)
        among[labels != IGNORED] = local
        return F.cross_entropy(seen.logits.index_select(1, here), among, ignore_index=IGNORED)
