"""What an adapter adds to a matrix, as a product of two thin ones where it is one, and arithmetic that never forms it.

B A        A: (rank, in), B: (out, rank)
sum_i w_i B_i A_i = [w_1 B_1 ...] [A_1; ...]        exact, of rank sum_i r_i
<B A, D C>_F = trace((B^T D) (C A^T))
nearest of rank r:  B = Q R,  A^T = P S,  the first r singular directions of the small R S^T
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Update", "gram", "inner", "total"]


@dataclass(frozen=True)
class Update:
    """An update of shape (..., out, in): ``whole``, or the product of ``up`` (out, rank) and ``down`` (rank, in).

    >>> Update(down=torch.ones(1, 3), up=torch.ones(2, 1)).rank
    1
    """

    whole: Tensor | None = None
    down: Tensor | None = None
    up: Tensor | None = None

    @property
    def rank(self) -> int | None:
        """The number of products that it is written as; None where it is a whole matrix."""
        return None if self.down is None else self.down.shape[-2]

    @property
    def factors(self) -> tuple[Tensor, Tensor]:
        assert self.down is not None and self.up is not None
        return self.down, self.up

    def dense(self) -> Tensor:
        if self.whole is not None:
            return self.whole
        down, up = self.factors
        return up @ down

    def norm(self) -> Tensor:
        return inner(self, self).clamp_min(0).sqrt()

    def nearest(self, rank: int) -> Update:
        """The nearest of a rank, written so: the first singular directions.

        >>> u = Update(down=torch.eye(3), up=torch.diag(torch.tensor([3.0, 2.0, 1.0])))
        >>> [round(v, 4) for v in u.nearest(2).dense().diagonal().tolist()]
        [3.0, 2.0, 0.0]
        """
        if self.whole is not None:
            u, s, v = torch.linalg.svd(self.whole.double(), full_matrices=False)
        else:
            down, up = self.factors
            q, r = torch.linalg.qr(up)
            p, t = torch.linalg.qr(down.mT)
            u, s, v = torch.linalg.svd(r.double() @ t.double().mT)
            root = s[..., :rank].sqrt()
            inner_up, inner_down = u[..., :, :rank] * root.unsqueeze(-2), root.unsqueeze(-1) * v[..., :rank, :]
            return Update(down=inner_down.to(p) @ p.mT, up=q @ inner_up.to(q))
        root = s[..., :rank].sqrt()
        down, up = root.unsqueeze(-1) * v[..., :rank, :], u[..., :, :rank] * root.unsqueeze(-2)
        return Update(down=down.float(), up=up.float())


def total(updates: Sequence[Update], weights: Sequence[float] | Tensor) -> Update:
    """The weighted sum, exact; a product of factors where all are."""
    if all(each.whole is None for each in updates):
        scaled = [w * each.factors[1] for w, each in zip(weights, updates, strict=True)]
        return Update(down=torch.cat([each.factors[0] for each in updates], -2), up=torch.cat(scaled, -1))
    whole = float(weights[0]) * updates[0].dense()
    for weight, update in zip(weights[1:], updates[1:], strict=True):
        whole.add_(update.dense(), alpha=float(weight))
    return Update(whole=whole)


def inner(one: Update, other: Update) -> Tensor:
    """The inner product, in float64."""
    if one.whole is None and other.whole is None:
        (a, b), (c, d) = one.factors, other.factors
        return ((b.double().mT @ d.double()) * (a.double() @ c.double().mT)).sum()
    return (one.dense().double() * other.dense().double()).sum()


def gram(updates: Sequence[Update]) -> Tensor:
    """All inner products, (n, n)."""
    found = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    for i, one in enumerate(updates):
        for j in range(i + 1):
            found[i, j] = found[j, i] = inner(one, updates[j])
    return found
