"""Whether two sets of rows may be of one distribution: how seldom chance gives rows as many neighbours of their own set.

    T = mean over rows of the share of their k nearest neighbours that come from the row's own set
    p = (1 + #{permutations of the sets in which T is at least as large}) / (1 + permutations)

Neighbours tell sets apart that agree in mean and variance, as sets that were standardised each by itself do. Schilling,
"Multivariate Two-Sample Tests Based on Nearest Neighbors", 1986.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.data import DataError, generator
from acclimate.losses.kernels import squared_distances

__all__ = ["alike"]


def alike(one: Tensor, other: Tensor, permutations: int = 199, seed: int = 0, neighbours: int = 5) -> float:
    """The p-value for rows (rows, ...) and (others, ...) of one shape: small where they differ.

    >>> x = torch.randn(80, 3, generator=torch.Generator().manual_seed(0))
    >>> alike(x[:40], x[40:]) > 0.05, round(alike(x[:40], x[40:] + 2), 3)
    (True, 0.005)
    """
    if min(len(one), len(other)) < 2 or one.shape[1:] != other.shape[1:]:
        raise DataError(
            f"sets of shapes {tuple(one.shape)} and {tuple(other.shape)} cannot be compared: give two rows of each, of one shape"
        )
    rows = torch.cat([one, other]).detach().flatten(1).double()
    near = squared_distances(rows, rows).fill_diagonal_(torch.inf)
    near = near.topk(min(neighbours, len(rows) - 1), largest=False).indices  # (all rows, neighbours)
    side, drawn = torch.arange(len(rows)) < len(one), generator(seed)
    sides = [side, *(side[torch.randperm(len(rows), generator=drawn)] for _ in range(permutations))]
    own = torch.stack([(each[near] == each.unsqueeze(1)).double().mean() for each in sides])
    return (1 + int((own[1:] >= own[0]).sum())) / (1 + permutations)
