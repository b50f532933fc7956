"""What passes, changed in a few directions alone.

    h + R^T (A h + c - R h)        R: (rank, channels), of orthonormal rows: the part of h in its span becomes A h + c
    h + R^T (A h + c)              ``keeps``: added to that part
    without ``orthonormal`` the rows of R are as they are learned

A is R and c is zero at first, or with ``keeps`` A is zero, so that nothing changes. Wu, Arora, Wang, Geiger, Jurafsky, Manning,
Potts, "ReFT: Representation Finetuning for Language Models", 2024: LoReFT; NoReFT without ``orthonormal``; DiReFT with ``keeps``
and without.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, positive, zeros
from acclimate.sites import Kind, Site, linear

__all__ = ["ReFT"]


class ReFT(Method):
    """``rank`` directions of a module's output, at every place; ``Split`` gives it to some tokens alone.

    >>> ReFT(rank=2)
    ReFT(rank=2)
    """

    rank: int = 4
    orthonormal: bool = True
    keeps: bool = False

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "block"
    exceptions = {"identity": "what is taken away and given back cancels up to rounding"}

    def __post_init__(self) -> None:
        positive(self, rank=self.rank)

    def refuses(self, site: Site) -> str:
        narrow = site.channels is not None and site.channels < self.rank
        return f"changes {self.rank} directions, and there are {site.channels}" if narrow else ""

    def fits(self, site: Site) -> bool:
        return site.channels is not None and site.leaf and site.path != "" and not self.refuses(site)

    class Module(AdapterModule):
        method: ReFT

        def build(self, site: Site) -> None:
            drawn = torch.linalg.qr(torch.randn(site.width, self.method.rank)).Q.mT.contiguous()
            self.directions = nn.Parameter(drawn.to(site.device))
            self.map = zeros(drawn.shape, site) if self.method.keeps else nn.Parameter(self.directions.detach().clone())
            self.shift = zeros((self.method.rank,), site)

        def rows(self) -> Tensor:
            """R: an orthonormal basis of what the rows of what is learned span, itself where those are orthonormal."""
            if not self.method.orthonormal:
                return self.directions
            # By Cholesky: eigenvectors have no gradient where eigenvalues are equal, and here all are 1 at first.
            factor = torch.linalg.cholesky(self.directions @ self.directions.mT)
            return torch.linalg.solve_triangular(factor, self.directions, upper=False)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            axis = self.layout.axis(y)
            h, R = y.movedim(axis, -1), self.rows()
            inner = linear(h, self.map, self.shift)
            inner = inner if self.method.keeps else inner - linear(h, R)
            return y + linear(inner, R.mT).movedim(-1, axis).to(y.dtype)
