"""Norm statistics that follow a stream slowly, and are never those of one batch.

    mu <- (1 - momentum) mu + momentum mean(x),    var likewise,    after each batch;  at first the source's

Yuan, Xie, Li, "Robust Test-Time Adaptation in Dynamic Scenarios", 2023 (RoTTA's robust batch norm, momentum .05).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from acclimate.engine import MethodError, Order
from acclimate.methods.moments import moments
from acclimate.methods.statistics import Statistics, StatisticsModule
from acclimate.sites import Site

__all__ = ["FollowedStatistics"]


class FollowedStatistics(Statistics):
    """``momentum`` is what a batch brings; 0 is the source's statistics for good. A row's answer rests on batches before it alone.

    >>> FollowedStatistics().momentum
    0.05
    """

    momentum: float = 0.05

    coupled = False
    expects: ClassVar[Order] = "any"

    def __post_init__(self) -> None:
        if not 0 <= self.momentum <= 1:
            raise MethodError(f"momentum={self.momentum} cannot work: it lies between 0 and 1")

    class Module(StatisticsModule):
        method: FollowedStatistics
        source: Tensor

        def build(self, site: Site) -> None:
            super().build(site)
            self.register_buffer("mean", self.centre.clone())
            var = site.module.running_var
            assert isinstance(var, Tensor)
            self.register_buffer("source", var.detach().clone(), persistent=False)
            self.register_buffer("var", self.source.clone())

        def input(self, x: Tensor) -> Tensor:
            factor = ((self.source + self.eps) / (self.var + self.eps)).sqrt()  # exactly 1 at first
            return self.scaled(x, factor, self.centre - self.mean * factor)

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None:
                mean, var = moments(x, [axis for axis in range(x.dim()) if axis != 1])
                self.mean.lerp_(mean.flatten().to(self.mean), self.method.momentum)
                self.var.lerp_(var.flatten().to(self.var), self.method.momentum)
