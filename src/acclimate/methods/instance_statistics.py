"""Norm statistics of the stream, corrected for each row where the row's own are too far from them to be chance.

    m_i = mu + shrink(mean(x_i) - mu, k s),             s = sqrt(v / n)
    d_i = v + shrink(var(x_i) - v, k t),                t = v sqrt(2 / (n - 1)),      shrink(a, b) = sign(a) max(|a| - b, 0)

over the n places of one channel of row i; mu and v follow the stream. Each row is normalised by itself.

Gong, Jeong, Kim, Kim, Shin, Lee, "NOTE: Robust Continual Test-time Adaptation Against Temporal Correlation", 2022 (instance-aware
batch norm: k 4, momentum .01). There mu and v follow the memory, and here what is answered. v above is that of the norm plus its
epsilon.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from acclimate.engine import positive
from acclimate.methods.followed import FollowedStatistics
from acclimate.methods.moments import moments

__all__ = ["InstanceStatistics", "corrected"]


class InstanceStatistics(FollowedStatistics):
    """``width`` is k: large, and it is `FollowedStatistics`. A row with one place a channel has no statistics of its own.

    >>> InstanceStatistics().momentum
    0.01
    """

    momentum: float = 0.01
    width: float = 4.0

    exceptions = {
        "identity": "it has no parameters: attached, it corrects the statistics of rows that are far from the source"
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, width=self.width)

    class Module(FollowedStatistics.Module):
        method: InstanceStatistics

        def input(self, x: Tensor) -> Tensor:
            places = x[0, 0].numel() if len(x) else 0
            if places < 2:
                return super().input(x)
            shape = (1, -1, *[1] * (x.dim() - 2))
            mean, var = corrected(x, self.mean.view(shape), self.var.view(shape), self.eps, self.method.width)
            normal = (x - mean) * (var + self.eps).rsqrt()
            return normal * self.deviation.view(shape) + self.centre.view(shape)


def corrected(x: Tensor, mean: Tensor, var: Tensor, eps: float, width: float) -> tuple[Tensor, Tensor]:
    """Means and variances for each row of x (rows, channels, ...), of at least two places: these, (1, channels, 1...), or its own
    where they are further from them than ``width`` times what chance does."""
    places = x[0, 0].numel()
    spread = var + eps
    own_mean, own_var = moments(x, range(2, x.dim()))
    own_var = own_var * (places / (places - 1))
    mean = mean + _shrunk(own_mean - mean, width * (spread / places).sqrt())
    var = var + _shrunk(own_var - var, width * spread * (2 / (places - 1)) ** 0.5)
    return mean, var.clamp_min(0)


def _shrunk(value: Tensor, by: Tensor) -> Tensor:
    return F.relu(value - by) - F.relu(-value - by)
