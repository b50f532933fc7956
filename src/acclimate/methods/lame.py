"""Correct a batch of predictions so that near inputs agree; no parameter is learned and nothing goes backward.

    z_ik  <-  q_ik exp(sum_j w_ij z_jk) / normaliser,  from z = q, until the assignments stand still

q are the classifier's probabilities and w the mutual nearest neighbours among the features that enter it. Each
step lowers  sum_i KL(z_i || q_i) - 1/2 sum_ij w_ij z_i . z_j  (for a positive semi-definite w).

Boudiaf, Mueller, Ben Ayed, Bertinetto, "Parameter-free Online Test-time Adaptation", 2022.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, Order, positive
from acclimate.sites import Kind, Site

__all__ = ["LAME", "affinity", "assign"]


def affinity(features: Tensor, neighbours: int) -> Tensor:
    """w (rows, rows): one where a row is among another's nearest by cosine, itself left out, made symmetric.

    >>> affinity(torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), 1)[0]
    tensor([0., 1., 0.])
    """
    unit = F.normalize(features.flatten(1).float(), dim=-1)
    likeness = (unit @ unit.T).fill_diagonal_(-2)
    near = likeness.topk(min(neighbours, len(unit) - 1), -1).indices
    w = torch.zeros_like(likeness).scatter_(1, near, 1.0)
    return (w + w.T) / 2


def assign(q: Tensor, w: Tensor, steps: int = 100, tolerance: float = 1e-8) -> Tensor:
    """The assignments z (rows, classes) for probabilities q and affinities w."""
    log_q = q.clamp_min(1e-12).log()
    z, before = q, torch.inf
    for _ in range(steps):
        z = (log_q + w @ z).softmax(-1)
        now = objective(z, log_q, w)
        if abs(before - now) <= tolerance * abs(now):
            break
        before = now
    return z


def objective(z: Tensor, log_q: Tensor, w: Tensor) -> float:
    """What `assign` lowers: sum_i KL(z_i || q_i) - 1/2 sum_ij w_ij z_i . z_j."""
    entropy = torch.special.entr(z).sum()
    return float(-entropy - (z * log_q).sum() - (z * (w @ z)).sum() / 2)


class LAME(Method):
    """At the head: features (rows, channels) enter, logits (rows, classes) leave as logarithms of assignments.

    >>> LAME().at
    'head'
    """

    neighbours: int = 5
    steps: int = 100

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    coupled: ClassVar[bool] = True
    expects: ClassVar[Order] = "correlated"
    exceptions = {"identity": "it has no parameters: attached, it corrects"}

    def __post_init__(self) -> None:
        positive(self, neighbours=self.neighbours, steps=self.steps)

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        if site.role != "head" and not isinstance(site.module, nn.Linear):
            raise MethodError(
                f"LAME corrects a classifier, and {site.key} is a {site.type}: name the head, as at='head'"
            )

    class Module(AdapterModule):
        method: LAME

        @torch.no_grad()
        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if y.dim() != 2 or len(y) < 2:
                return y
            w = affinity(x, self.method.neighbours)
            return assign(y.float().softmax(-1), w, self.method.steps).clamp_min(1e-12).log().to(y.dtype)
