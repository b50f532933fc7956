"""How far the features of two domains lie apart, as distributions.

    MMD^2 = mean k(s, s') + mean k(t, t') - 2 mean k(s, t)        k = mean_j exp(-|a - b|^2 / (2^j m)),  j around 0

m is the median of the squared distances among all rows of the batch, held fixed. The means take every pair, a row with
itself too, so that the value is never negative and two equal samples give 0.

Gretton, Borgwardt, Rasch, Schoelkopf, Smola, "A Kernel Two-Sample Test", 2012; several kernels on deep features: Long,
Cao, Wang, Jordan, "Learning Transferable Features with Deep Adaptation Networks", 2015.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import feature_pair

__all__ = ["MMD", "discrepancy"]


def discrepancy(source: Tensor, target: Tensor, kernels: int = 5) -> Tensor:
    """MMD^2 of two samples, (rows, channels) each, between 0 and 2.

    >>> x = torch.arange(6.0).reshape(3, 2)
    >>> discrepancy(x, x + 100) > 0.9
    tensor(True)
    """
    both = torch.cat([source, target])
    both = both - both.detach().mean(0)  # distances from products lose less near the origin
    squares = both.square().sum(1)
    distances = (squares[:, None] + squares - 2 * both @ both.T).clamp_min(0)
    apart = ~torch.eye(len(both), dtype=torch.bool, device=both.device)
    median = distances.detach()[apart].median().clamp_min(torch.finfo(both.dtype).eps)
    likeness = torch.stack([(-distances / (2.0**j * median)).exp() for j in range(-(kernels // 2), (kernels + 1) // 2)])
    sides = torch.cat(
        [source.new_full((len(source),), 1 / len(source)), target.new_full((len(target),), -1 / len(target))]
    )
    return sides @ likeness.mean(0) @ sides


class MMD(Loss):
    """Between the domains' features ``at`` a site, by ``kernels`` Gaussians of neighbouring widths.

    >>> sorted(MMD().wants())
    ['features:penultimate', 'target']
    """

    at: str = "penultimate"
    kernels: int = 5

    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def __post_init__(self) -> None:
        if self.kernels < 1:
            raise LossError(f"MMD(kernels={self.kernels}) cannot work: it takes at least one kernel")

    def wants(self) -> frozenset[str]:
        return self.needs | {f"features:{self.at}"}

    def __call__(self, seen: Seen) -> Tensor:
        return discrepancy(*feature_pair(self, seen, self.at), self.kernels)
