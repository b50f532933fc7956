"""The statistics of a batch as numbers that nobody can change: no gradient passes through them, and nothing is kept for one.

    y = (x - m) / d * d0 + m0        m, d: the batch's, constants;  dy/dx = d0 / d

Answers are those of `BatchStatistics(blend=1)`; what is taught below a norm hears of its factor alone, not of how it would
have moved the statistics. Ioffe, Szegedy, "Batch Normalization", 2015, has the terms that are left out, and they are what makes a
norm keep all it has normalised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods.statistics import Statistics, StatisticsModule

__all__ = ["StoppedStatistics"]


class StoppedStatistics(Statistics):
    """Normalise by the batch, whose statistics are constants to the backward pass.

    >>> StoppedStatistics().expects
    'shuffled'
    """

    exceptions = {"identity": "it has no parameters: attached, it normalises by the batch"}

    class Module(StatisticsModule):
        method: StoppedStatistics

        def input(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                _, mean, inverse = torch.native_batch_norm(x, None, None, None, None, True, 0.0, self.eps)
                factor = self.deviation * inverse
            return self.scaled(x, factor, self.centre - mean * factor)
