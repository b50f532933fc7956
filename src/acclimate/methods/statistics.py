"""What a batch norm divides by, as a site like any other.

    BatchStatistics:    (1 - p) * source + p * batch        in every mode; the source's stay as they are
    RunningStatistics:  the batch's while training, its own running average after

Nado, Padhy, Sculley, D'Amour, Lakshminarayanan, Snoek, "Evaluating Prediction-Time Batch Normalization for Robustness
under Covariate Shift", 2020. Schneider, Rusak, Eck, Bringmann, Brendel, Bethge, "Improving robustness against common
corruptions by covariate shift adaptation", 2020.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, Order
from acclimate.methods.moments import moments
from acclimate.sites import Kind, Site

__all__ = ["BatchStatistics", "RunningStatistics", "Statistics"]

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Statistics(Method):
    """What a batch norm normalises by."""

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "all"
    coupled: ClassVar[bool] = True
    expects: ClassVar[Order] = "shuffled"

    def refuses(self, site: Site) -> str:
        fits = isinstance(site.module, _BATCH_NORMS) and site.module.running_mean is not None
        return "" if fits else "is for batch norms with running statistics"


class StatisticsModule(AdapterModule):
    """Bring the input to the statistics that the base expects: ``(x - m) / d * d0 + m0``."""

    centre: Tensor
    deviation: Tensor
    mean: Tensor
    var: Tensor

    def build(self, site: Site) -> None:
        assert isinstance(site.module, _BATCH_NORMS)
        mean, var = site.module.running_mean, site.module.running_var
        assert mean is not None and var is not None
        self.eps = site.module.eps
        self.register_buffer("centre", mean.detach().clone(), persistent=False)
        self.register_buffer("deviation", (var.detach() + self.eps).sqrt(), persistent=False)

    def scaled(self, x: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """x (rows, channels, ...) by a factor and an offset for each channel."""
        shape = (-1,) + (1,) * (x.dim() - 2)
        return x * factor.view(shape) + offset.view(shape)


class BatchStatistics(Statistics):
    """Normalise by a blend of the source's statistics and the batch's; ``blend=1`` is the batch alone.

    >>> BatchStatistics(blend=0.1).blend
    0.1
    """

    blend: float = 1.0

    exceptions = {"identity": "it has no parameters: attached, it normalises by the batch"}

    def __post_init__(self) -> None:
        if not 0 <= self.blend <= 1:
            raise MethodError(f"blend={self.blend} cannot work: it lies between 0 and 1")

    class Module(StatisticsModule):
        method: BatchStatistics

        def input(self, x: Tensor) -> Tensor:
            blend = self.method.blend
            if blend == 1:
                return F.batch_norm(x, None, None, self.deviation, self.centre, True, 0.0, self.eps)
            mean, var = (part.flatten() for part in moments(x, [axis for axis in range(x.dim()) if axis != 1]))
            mean = (1 - blend) * self.centre + blend * mean
            var = (1 - blend) * (self.deviation**2 - self.eps) + blend * var
            factor = self.deviation * (var + self.eps).rsqrt()
            return self.scaled(x, factor, self.centre - mean * factor)


class RunningStatistics(Statistics):
    """Statistics that are this adapter's own: they follow the batches it is trained on, and save with it.

    >>> RunningStatistics().momentum
    0.1
    """

    momentum: float = 0.1

    exceptions = {"identity": "standardising by the source's own statistics and back rounds in the last place"}

    class Module(StatisticsModule):
        method: RunningStatistics

        def build(self, site: Site) -> None:
            super().build(site)
            self.register_buffer("mean", self.centre.clone())
            self.register_buffer("var", self.deviation**2 - self.eps)

        def input(self, x: Tensor) -> Tensor:
            mean, var, momentum = self.mean, self.var, self.method.momentum
            return F.batch_norm(x, mean, var, self.deviation, self.centre, self.training, momentum, self.eps)
