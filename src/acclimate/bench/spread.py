"""A regression whose noise grows with one of its inputs, and a small network that says seven quantiles of it.

y = sin(2 x_1) + x_2 / 2 + (0.2 + x_3^+) e        x: (rows, 4), normal; e: normal
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.bench.planted import drawn

__all__ = ["LEVELS", "interval_score", "network", "pinball", "rows"]

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
FEATURES = 24


def rows(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """Inputs (count, 4) and what is to be said of them (count,).

    >>> [tuple(each.shape) for each in rows(0, 5)]
    [(5, 4), (5,)]
    """
    x, noise = drawn(seed, count, 4), drawn(seed + 1000, count)
    return x, (2 * x[:, 0]).sin() + x[:, 1] / 2 + (0.2 + x[:, 2].relu()) * noise


def network(seed: int) -> nn.Sequential:
    """Random features and a head that says nothing yet: zero for every level.

    >>> network(0)(torch.ones(2, 4)).abs().max()
    tensor(0.)
    """
    body, head = nn.Linear(4, FEATURES), nn.Linear(FEATURES, len(LEVELS))
    with torch.no_grad():
        body.weight.copy_(drawn(seed + 7, FEATURES, 4))
        body.bias.copy_(drawn(seed + 8, FEATURES))
        head.weight.zero_()
        head.bias.zero_()
    return nn.Sequential(body, nn.ReLU(), head).requires_grad_(False)


def pinball(q: Tensor, y: Tensor) -> float:
    """The mean pinball loss of quantiles (rows, levels).

    >>> pinball(torch.zeros(1, 7), torch.zeros(1))
    0.0
    """
    levels, missing = torch.tensor(LEVELS), y[:, None] - q
    return float(torch.maximum(levels * missing, (levels - 1) * missing).mean())


def interval_score(q: Tensor, y: Tensor) -> Tensor:
    """The weighted interval score of each row, (rows,): widths of the pairs of levels, what lies outside, and the median.

    >>> interval_score(torch.zeros(1, 7), torch.zeros(1))
    tensor([0.])
    """
    half = len(LEVELS) // 2
    total = (y - q[:, half]).abs() / 2
    for k in range(half):
        low, high, alpha = q[:, k], q[:, -1 - k], 2 * LEVELS[k]
        total = total + alpha / 2 * (high - low) + (low - y).relu() + (y - high).relu()
    return total / (half + 0.5)
