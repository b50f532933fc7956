"""Answers in the shares of classes that the batch has, where there is evidence that they are not the usual ones.

    pi <- (sum_i p_i pi/u / |p_i pi/u|_1 + c K u) / (rows + c K),   from pi = u;      p_ik <- p_ik pi_k / u_k  where
    sum_i log sum_k p_ik pi_k / u_k  >  (K - 1)/2 log(rows + 1)

u are the usual shares, gathered over the stream from equal ones on. A batch whose shares are usual, but for chance, is answered as
it is: the right side is what K - 1 free shares gain by fitting noise. Saerens, Latinne, Decaestecker, "Adjusting the Outputs of a
Classifier to New a Priori Probabilities: A Simple Procedure", 2002; the bound of Schwarz, "Estimating the Dimension of a Model",
1978.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, MethodError, Order, positive
from acclimate.sites import Kind, Site

__all__ = ["BatchPrior", "batch_shares"]


def batch_shares(p: Tensor, usual: Tensor, smooth: float = 1.0, steps: int = 20) -> tuple[Tensor, Tensor]:
    """The shares (classes,) that probabilities p (rows, classes) under ``usual`` ones speak for, and the evidence beyond chance.

    >>> shares, evidence = batch_shares(torch.tensor([[0.9, 0.1]]).expand(50, 2), torch.tensor([0.5, 0.5]))
    >>> bool(shares[0] > 0.95), bool(evidence > 0)
    (True, True)
    """
    rows, classes = p.shape
    shares = usual
    for _ in range(steps):
        weighed = p * (shares / usual)
        shares = ((weighed / weighed.sum(1, keepdim=True)).sum(0) + smooth * classes * usual) / (
            rows + smooth * classes
        )
    gained = (p * (shares / usual)).sum(1).log().sum()
    return shares, gained - (classes - 1) / 2 * math.log(rows + 1)


class BatchPrior(Method):
    """At the head: logits (rows, classes). ``smooth`` is c; ``most`` is after how many rows older ones count less.

    It has no parameters: attached, it corrects at once where a batch gives evidence, and elsewhere changes nothing.

    >>> BatchPrior().at
    'head'
    """

    smooth: float = 1.0
    most: int = 1000

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    coupled: ClassVar[bool] = True
    expects: ClassVar[Order] = "any"

    def __post_init__(self) -> None:
        positive(self, most=self.most)
        if not self.smooth > 0:
            raise MethodError(f"smooth={self.smooth} cannot work: it must be above 0")

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        if not isinstance(site.module, nn.Linear):
            raise MethodError(
                f"BatchPrior corrects a linear classifier, and {site.key} is a {site.type}: name it, as at='head'"
            )

    class Module(AdapterModule):
        method: BatchPrior
        usual: Tensor
        rows: Tensor

        def build(self, site: Site) -> None:
            assert isinstance(site.module, nn.Linear)
            self.register_buffer("usual", torch.zeros(site.module.out_features))
            self.register_buffer("rows", torch.zeros(()))

        @torch.no_grad()
        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if y.dim() != 2 or len(y) < 2:
                return y
            usual = self._usual()
            shares, evidence = batch_shares(y.float().softmax(1), usual, self.method.smooth)
            return torch.where(evidence > 0, y.log_softmax(1) + (shares / usual).log().to(y.dtype), y)

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None and y.dim() == 2:
                share = len(y) / (self.rows + len(y))
                self.usual.lerp_(y.float().softmax(1).mean(0), share)
                self.rows.add_(len(y)).clamp_max_(self.method.most)

        def _usual(self) -> Tensor:
            """Equal shares, as if they had been seen in two rows of each class, and what was gathered."""
            classes = len(self.usual)
            equal = 2 * classes / (2 * classes + self.rows)
            return (1 - equal) * self.usual + equal / classes
