"""Hidden units of one adapter put in the order of another's before their parameters are averaged.

    P = argmin over permutations of sum_j || u_j - v_P(j) ||^2        u, v: all that belongs to a unit, side by side

With as many units on both sides and equal masses, optimal transport is an assignment. He, Ding, Wang, Zhang, Cai, "MerA: Merging
Pretrained Adapters For Few-Shot Learning", 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from acclimate.engine import MethodError

__all__ = ["aligned", "units_of"]

Tensors = Mapping[str, Tensor]


def units_of(tensors: Tensors, axes: Mapping[str, int]) -> Tensor:
    """All that belongs to each hidden unit, (units, numbers)."""
    found = [tensors[role].movedim(axis, 0) for role, axis in axes.items()]
    return torch.cat([each.reshape(len(each), -1) for each in found], 1)


def aligned(members: Sequence[Tensors], axes: Mapping[str, int]) -> list[dict[str, Tensor]]:
    """The members with their units in the order in which they are nearest to the first's.

    >>> one = {"down": torch.tensor([[1.0], [5.0]])}
    >>> aligned([one, {"down": torch.tensor([[5.0], [1.0]])}], {"down": 0})[1]["down"].flatten().tolist()
    [1.0, 5.0]
    """
    if not axes:
        raise MethodError("align='transport' moves hidden units, and these adapters have none: use align='none'")
    from scipy.optimize import linear_sum_assignment

    first = units_of(members[0], axes).double()
    found = [dict(members[0])]
    for tensors in members[1:]:
        cost = torch.cdist(first, units_of(tensors, axes).double()).square()
        order = torch.from_numpy(linear_sum_assignment(cost.numpy())[1])
        moved = {role: tensors[role].index_select(axis, order) for role, axis in axes.items()}
        found.append({**tensors, **moved})
    return found
