"""Norm statistics of several kinds of input held apart, from which a balanced batch is put together for each row.

    p_ik = softmax_k(cos(m_i, mu_k) / temperature)                        m_i, v_i: row i's own mean and variance over places
    mu_ik = mu_k + p_ik (m_i - mu_k),    var_ik likewise
    mean_i = mean_k mu_ik,    var_i = mean_k var_ik + mean_k mu_ik^2 - mean_i^2
    mu_k <- mu_k + momentum mean_i p_ik (m_i - mu_k),    var_k likewise,    after each batch
    at first  mu_k = mu + sqrt(spread K / (K - 1)) sigma e_k,  var_k = (1 - spread) sigma^2,    e_k ~ N(0, 1)

At first the components as a whole have the source's statistics, in expectation.

A row is normalised by all components, of which it moved those that are like it: a run of one class leaves the others as they are.

Tomar, Vray, Thiran, Bozorgtabar, "Un-Mixing Test-Time Normalization Statistics: Combatting Label Temporal Correlation", 2024
(K 16, spread 1/2, temperature .07).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import MethodError, Order, positive
from acclimate.methods.moments import moments
from acclimate.methods.statistics import Statistics, StatisticsModule
from acclimate.sites import Site

__all__ = ["UnmixedStatistics"]


class UnmixedStatistics(Statistics):
    """``own`` is how much of its own statistics a row brings (1: all of p); with one component and 0 they are the source's.

    >>> UnmixedStatistics(components=8).momentum
    0.1
    """

    components: int = 16
    momentum: float = 0.1
    spread: float = 0.5
    temperature: float = 0.07
    own: float = 1.0

    coupled = False
    expects: ClassVar[Order] = "any"
    exceptions = {"identity": "components are drawn about the source's statistics, and each row brings its own"}

    def __post_init__(self) -> None:
        positive(self, components=self.components, temperature=self.temperature)
        for name in ("momentum", "spread", "own"):
            if not 0 <= getattr(self, name) <= 1:
                raise MethodError(f"{name}={getattr(self, name)} cannot work: it lies between 0 and 1")

    def refuses(self, site: Site) -> str:
        if isinstance(site.module, nn.BatchNorm1d):
            return "needs places to take a row's own statistics over"
        return super().refuses(site)

    class Module(StatisticsModule):
        method: UnmixedStatistics

        def build(self, site: Site) -> None:
            super().build(site)
            count, source = self.method.components, self.deviation**2 - self.eps
            spread = self.method.spread if count > 1 else 0.0
            drawn = torch.randn(count, len(self.centre)).to(self.centre)
            away = math.sqrt(spread * count / max(1, count - 1)) * source.sqrt() * drawn
            self.register_buffer("mean", self.centre + away)  # (components, channels)
            self.register_buffer("var", ((1 - spread) * source).expand_as(away).contiguous())

        def apart(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Of each row p (rows, components, 1), and by how far it is from each component's mean and variance."""
            mean, var = (part.flatten(1) for part in moments(x, range(2, x.dim())))  # (rows, channels)
            with torch.no_grad():
                alike = F.normalize(mean, dim=1) @ F.normalize(self.mean, dim=1).mT
                p = (alike / self.method.temperature).softmax(1).unsqueeze(2)
            return p, mean.unsqueeze(1) - self.mean, var.unsqueeze(1) - self.var

        def input(self, x: Tensor) -> Tensor:
            p, from_mean, from_var = self.apart(x)
            means = self.mean + self.method.own * p * from_mean  # (rows, components, channels)
            variances = self.var + self.method.own * p * from_var
            mean, var = means.mean(1), variances.mean(1) + means.var(1, correction=0)
            factor = self.deviation * (var + self.eps).rsqrt()
            places = (...,) + (None,) * (x.dim() - 2)
            return x * factor[places] + (self.centre - mean * factor)[places]

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None:
                p, from_mean, from_var = self.apart(x)
                self.mean += self.method.momentum * (p * from_mean).mean(0)
                self.var += self.method.momentum * (p * from_var).mean(0)
