"""Norm statistics gathered over all rows since conditions last changed, and over those of the batch at hand.

    mu = (n_0 mu_source + sum_{rows since the change} x) / (n_0 + n),    var likewise;    n = 0 where conditions change

Batches whose classes come in runs are mixed over time, and batches of mixed classes are known better the more there are. Whether
conditions have changed is asked of what enters the first norm, for classes move the deep features, and leave that almost where it
was. With m, s of the batch, mu, sigma of what was gathered, and m', s' of the batch before,

    d^2 = mean_c [ (m_c - mu_c)^2 + (s_c - sigma_c)^2 - noise_c ] / sigma_c^2,   noise: variance of the rows' means / rows, of both

they have where d is more than a ``jump`` times what it usually is, and where it is more than that of the batch before: conditions
drift. Nothing below ``least`` is a change, and a distance is usual where two batches in a row lay as far off.

Where classes come in runs, what enters the first norm moves with them, and to forget is to know few classes. Whether they do is
asked of what enters the last norm: there two batches of mixed classes lie near one another, unless conditions change between them.
With r^2 the mean of min(d_t^2, d_{t-1}^2), d_t from batch to batch there,

    r > ``runs``:    no change is a drift; at a change n becomes min(n, ``kept``), not 0; and a row whose own moments are further
                     from mu, var than ``width`` times chance is normalised by its own beyond that

After Schneider, Rusak, Eck, Bringmann, Brendel, Bethge, "Improving robustness against common corruptions by covariate shift
adaptation", 2020 (the source as n_0 rows), and for single rows Gong, Jeong, Kim, Kim, Shin, Lee, "NOTE: Robust Continual Test-time
Adaptation Against Temporal Correlation", 2022; the gathering, the changes and the runs have no paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.engine import AdapterModule, MethodError, Order
from acclimate.engine.glimpse import Glimpse
from acclimate.engine.relay import handed
from acclimate.methods.instance_statistics import corrected
from acclimate.methods.statistics import Statistics, StatisticsModule
from acclimate.sites import Site

__all__ = ["GatheredStatistics"]

_NEARER, _FORGOT, _FAR = 0.75, 0.2, 5.0
"""Of the distance to what was gathered, the batch before may lie at this share where conditions drift; what a batch brings to what
is usual; what it may bring at most, in times of what tells runs."""


class GatheredStatistics(Statistics):
    """``prior`` is n_0 in rows, ``most`` the rows after which older ones count less, ``least`` and ``runs`` are in deviations.

    >>> GatheredStatistics().prior
    8.0
    """

    prior: float = 8.0
    most: float = 400.0
    jump: float = 2.5
    least: float = 0.15
    runs: float = 0.08
    kept: float = 50.0
    width: float = 8.0

    relays: ClassVar[bool] = True
    expects: ClassVar[Order] = "any"
    exceptions = {
        "identity": "it has no parameters: attached, it normalises by what it has gathered and the batch",
        "checkpointing": "its norms are told by the first one whether conditions changed, which a block alone is not",
    }

    def __post_init__(self) -> None:
        for name in ("prior", "most", "jump", "least", "runs", "kept", "width"):
            if not getattr(self, name) > 0:
                raise MethodError(f"{name}={getattr(self, name)} cannot work: it must be above 0")

    def make(self, sites: Sequence[Site], look: Glimpse | None) -> list[AdapterModule]:
        modules = super().make(sites, look)
        for module in modules:
            module.__dict__["first"] = modules[0]  # they belong to their own sites, and are no part of this one
            module.__dict__["final"] = modules[-1]
        return modules

    class Module(StatisticsModule):
        method: GatheredStatistics
        first: GatheredStatistics.Module
        final: GatheredStatistics.Module
        square: Tensor
        rows: Tensor
        changed: Tensor
        last: Tensor
        usual: Tensor
        lay: Tensor
        moved: Tensor
        restless: Tensor
        steps: Tensor

        def build(self, site: Site) -> None:
            super().build(site)
            self.register_buffer("mean", torch.zeros_like(self.centre))
            self.register_buffer("square", torch.zeros_like(self.centre))
            self.register_buffer("rows", torch.zeros(()))
            self.register_buffer("changed", torch.ones(()))
            self.register_buffer("last", torch.stack([self.centre, self.deviation]))  # of the batch before
            self.register_buffer("usual", torch.zeros(()))  # square of the distance
            self.register_buffer("lay", torch.zeros(()))  # the last of it
            far = torch.full_like(self.usual, (_FAR * self.method.runs) ** 2)  # in runs, until two batches have told
            self.register_buffer("moved", far.clone())  # square of the distance from batch to batch
            self.register_buffer("restless", far.clone())  # r^2
            self.register_buffer("steps", torch.zeros(()))

        def input(self, x: Tensor) -> Tensor:
            told = handed(self).setdefault("changed", {})
            if self.turn == 0:
                told[0] = self._changes(x)
            elif 0 not in told:
                raise MethodError(
                    f"{self.method} asks its first norm whether conditions changed, and another one ran before it: "
                    "name the norms in the order in which they run"
                )
            mean, square, rows = self._gathered(x, told[0])
            share = self.method.prior / (self.method.prior + rows)
            var = (1 - share) * (square - mean**2).clamp_min(0) + share * (self.deviation**2 - self.eps)
            mean = (1 - share) * mean + share * self.centre
            if x[:1, :1].numel() < 2 or not self._in_runs():
                factor = self.deviation * (var + self.eps).rsqrt()
                return self.scaled(x, factor, self.centre - mean * factor)
            shape = (1, -1, *[1] * (x.dim() - 2))
            mean, var = corrected(x, mean.view(shape), var.view(shape), self.eps, self.method.width)
            factor = self.deviation.view(shape) * (var + self.eps).rsqrt()
            return x * factor + (self.centre.view(shape) - mean * factor)

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is not None:
                return
            if self.turn == 0:
                self.changed.copy_(self._changes(x))
                if self.rows > 0 and len(x) > 1:
                    lies = self._distance(x)[0].clamp_min(0)
                    usual = lies if self._in_runs() else torch.minimum(lies, self.lay)  # twice, as in `_rests`
                    self.usual.lerp_(torch.minimum(usual, self._bound()), _FORGOT)
                    self.lay.copy_(lies)
            gathered = self._gathered(x, self.first.changed)
            if self is self.final and self.rows > 0 and len(x) > 1:
                self._rests(self._distance(x)[1].clamp_min(0))
            for buffer, value in zip((self.mean, self.square, self.rows), gathered, strict=True):
                buffer.copy_(value)
            if self in (self.first, self.final):
                self.last.copy_(_moments(x))

        def _rests(self, moved: Tensor) -> None:
            """Take in how far a batch is from the one before it: once is a change of conditions, twice may be of classes."""
            twice = torch.minimum(moved, self.moved).clamp_max((_FAR * self.method.runs) ** 2)
            self.steps.add_(1)
            self.restless.lerp_(twice, (1 / self.steps).clamp_min(_FORGOT))
            self.moved.copy_(moved)

        def _in_runs(self) -> bool:
            return bool(self.final.restless > self.method.runs**2)

        def _gathered(self, x: Tensor, changed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """Means of x and of its square, and over how many rows, once these have come."""
            kept = self.rows.clamp_max(self.method.kept) if self._in_runs() else torch.zeros_like(self.rows)
            before = torch.where(changed > 0, kept, self.rows)
            share = len(x) / (before + len(x))
            mean, square = (part.to(self.mean) for part in _means(x))
            rows = (before + len(x)).clamp_max(self.method.most)
            return self.mean.lerp(mean, share), self.square.lerp(square, share), rows

        def _changes(self, x: Tensor) -> Tensor:
            """1 where nothing is gathered yet, or these rows lie elsewhere; 0 where they may be more of the same."""
            if len(x) < 2:
                return (self.rows == 0).to(self.rows)
            lies, before = self._distance(x)
            elsewhere = lies > self._bound()
            if not self._in_runs():
                elsewhere = elsewhere | ((lies > self.method.least**2) & (before < _NEARER**2 * lies))
            return ((self.rows == 0) | elsewhere).to(self.rows)

        def _bound(self) -> Tensor:
            """The square of the distance at which conditions have changed."""
            return (self.usual * self.method.jump**2).clamp_min(self.method.least**2)

        def _distance(self, x: Tensor) -> tuple[Tensor, Tensor]:
            """The squares of how far these rows lie from what was gathered, and from the batch before."""
            each = x.flatten(2).mean(2) if x.dim() > 2 else x
            here, noise = _moments(x), each.var(0) / len(x)
            gathered = torch.stack([self.mean, (self.square - self.mean**2).clamp_min(self.eps).sqrt()])
            lies, before = (
                (((here - there).square().sum(0) - times * noise) / gathered[1] ** 2).mean()
                for there, times in ((gathered, 1 + len(x) / self.rows.clamp_min(1)), (self.last, 2))
            )
            return lies, before


def _means(x: Tensor) -> tuple[Tensor, Tensor]:
    """Of each channel and of its square, (channels,) each; two passes, which are faster on a CPU than one of `torch.var_mean`."""
    axes = [axis for axis in range(x.dim()) if axis != 1]
    return x.mean(axes), x.square().mean(axes)


def _moments(x: Tensor) -> Tensor:
    """Mean and deviation of each channel, (2, channels)."""
    mean, square = _means(x)
    return torch.stack([mean, (square - mean**2).clamp_min(0).sqrt()])
