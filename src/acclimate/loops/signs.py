"""What can be seen of an adaptation without labels.

    drift       mean_c (m_c - m'_c)^2 / mean_c (v_c / n + v'_c / n')     deep features of two batches: mean, variance
    order       (1 - sum |h_t+1 - h_t|^2 / 2 sum |h_t - m|^2) sqrt(n d)  d: their effective dimension
    shift       |batch's - source's| mean or log variance, the greater   what enters the first norm
    changed     shift from the batch before x its drift / the drift above  conditions move the first, classes the last
    classes     exp H(mean_t p_t)
    informed    1 - mean_t H(p_t) / H(mean_t p_t)                        the share of the marginal that inputs explain
    confidence  mean_t max_k p_tk
    distance    root mean square of what the trained parameters moved

Rows that come in no order give a drift near 1 and an order near 0 (its deviation is 1), on the model itself and
whatever the conditions: both are ratios of the same sample's variances. Where a batch is normalised by itself the
drift of shuffled rows lies lower. Classes that come sorted move both; conditions that change move the drift once.

The ratio in ``order``: von Neumann, "Distribution of the Ratio of the Mean Square Successive Difference to the
Variance", 1941.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from acclimate.sites import base_modules
from acclimate.sites.roles import roles_of

__all__ = [
    "Entry",
    "Look",
    "Spread",
    "classes",
    "confidence",
    "distance",
    "drift",
    "ear",
    "entry",
    "informed",
    "look",
    "order",
    "shift",
    "spread",
]


@dataclass(frozen=True)
class Spread:
    """Mean and variance of each channel, (channels,), and the rows they are of."""

    mean: Tensor
    var: Tensor
    rows: int


@dataclass
class Look:
    """What one forward showed. ``deep`` (rows, channels) enters the last norm; ``entry`` and ``squares`` are each row's means of
    what enters the first and of its square, and ``source`` is what that norm expects.
    """

    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    deep: Tensor = field(default_factory=lambda: torch.empty(0))
    entry: Tensor | None = None
    squares: Tensor | None = None
    source: Spread | None = None


@dataclass(frozen=True)
class Entry:
    """What enters the first norm: ``all`` of it, the shift ``within`` from the first half of the rows to the second, and the spread
    of what each row brings, ``each``.
    """

    all: Spread
    each: Spread
    within: float


def entry(shown: Look) -> Entry | None:
    """What entered, of a forward that passed a norm."""
    if shown.entry is None or shown.squares is None:
        return None
    whole, *halves = (
        Spread(mean := rows.mean(0), squares.mean(0) - mean**2, len(rows))
        for rows, squares in zip(
            (shown.entry, *shown.entry.tensor_split(2)), (shown.squares, *shown.squares.tensor_split(2)), strict=True
        )
        if len(rows)
    )
    each = spread(torch.cat([shown.entry, shown.squares.sqrt()], 1))
    return Entry(whole, each, shift(halves[1], halves[0]) if len(halves) > 1 else 0.0)


def spread(features: Tensor) -> Spread:
    """The channels of (rows, channels)."""
    var, mean = torch.var_mean(features, 0, correction=1 if len(features) > 1 else 0)
    return Spread(mean, var, len(features))


def drift(now: Spread, before: Spread) -> float:
    """How far the means of two batches lie apart, over what chance explains; near 1 without drift.

    >>> rows = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    >>> drift(spread(rows[:32]), spread(rows[32:])) < 2 < drift(spread(rows[:32]), spread(rows[32:] + 1))
    True
    """
    chance = float((now.var / now.rows + before.var / before.rows).mean())
    moved = float((now.mean - before.mean).square().mean())
    return moved / chance if chance > 0 else 0.0 if moved == 0 else float("inf")


def order(features: Tensor) -> float:
    """How much more alike neighbours in time are than any two rows, in deviations of chance; (rows, channels).

    >>> rows = torch.eye(2).repeat_interleave(16, 0)
    >>> order(rows) > 5
    True
    """
    centred = features - features.mean(0)
    total = float(centred.square().sum())
    if len(features) < 4 or total == 0:
        return 0.0
    scatter = centred @ centred.T
    dimension = total**2 / float(scatter.square().sum())
    steps = float(centred.diff(dim=0).square().sum())
    ratio = steps / (2 * total) * len(features) / (len(features) - 1)
    return (1 - ratio) * math.sqrt(len(features) * dimension)


def shift(now: Spread, before: Spread) -> float:
    """How far conditions lie apart where the network begins: classes differ little there, and conditions much."""
    deviation = before.var.clamp_min(1e-12).sqrt()
    moved = float(((now.mean - before.mean) / deviation).square().mean().sqrt())
    scaled = float((now.var.clamp_min(1e-12) / before.var.clamp_min(1e-12)).log().abs().mean())
    return max(moved, scaled)


def classes(logits: Tensor) -> float:
    """The effective number of classes in a batch of predictions.

    >>> round(classes(torch.tensor([[9.0, -9.0], [-9.0, 9.0]])), 3)
    2.0
    """
    return float(torch.special.entr(logits.float().softmax(-1).flatten(0, -2).mean(0)).sum().exp())


def informed(logits: Tensor) -> float:
    """The share of the marginal's entropy that the inputs explain: 0 for one answer to all, 1 for certain ones."""
    p = logits.float().softmax(-1).flatten(0, -2)
    marginal = float(torch.special.entr(p.mean(0)).sum())
    return 1 - float(torch.special.entr(p).sum(-1).mean()) / marginal if marginal > 1e-6 else 0.0


def confidence(logits: Tensor) -> float:
    """The mean probability of the likeliest class."""
    return float(logits.float().softmax(-1).amax(-1).mean())


def distance(now: Sequence[Tensor], start: Sequence[Tensor]) -> float:
    """The root mean square movement of parameters."""
    squares = [float((p.detach() - q).square().sum()) for p, q in zip(now, start, strict=True)]
    return math.sqrt(sum(squares) / max(1, sum(q.numel() for q in start)))


@contextmanager
def ear(model: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Hear what enters the first and the last norm that run inside; the model carries nothing of it afterwards."""
    heard: list[tuple[nn.Module, Tensor]] = []

    def hear(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor):
            heard[1:] = [(module, args[0].detach())]
            if len(heard) == 1:
                heard.append(heard[0])

    handles = [m.register_forward_pre_hook(hear) for _, m in base_modules(model) if roles_of(m).get("") == "norm"]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def look(heard: Sequence[tuple[nn.Module, Tensor]], logits: Tensor) -> Look:
    """What a forward of as many rows as there are logits showed; without norms the logits are the features."""
    shown = Look(logits, logits.float().flatten(1))
    if not heard or heard[-1][1].shape[0] != len(logits):
        return shown
    (first, entering), (last, deep) = heard[0], heard[-1]
    shown.deep = _by_row(last, deep)
    shown.entry = _by_row(first, entering)
    shown.squares = _by_row(first, entering.float().square())
    if isinstance(first, _NormBase) and first.running_mean is not None and first.running_var is not None:
        shown.source = Spread(first.running_mean.float(), first.running_var.float(), 0)
    return shown


def _by_row(module: nn.Module, x: Tensor) -> Tensor:
    """The mean of each row, (rows, channels), over its places."""
    if x.dim() == 2:
        return x.float()
    places = x.flatten(2) if isinstance(module, _NormBase | nn.GroupNorm) else x.flatten(1, -2).mT
    return places.float().mean(-1)
