"""A parallel and a sequential low-rank branch, which look at the input and at the output of the same matrix.

    (I + s D C) W + s B A,   (I + s D C) b        C: (rank, out); D: (out, rank), zero at first

Kim, Park, Yun, "Hydra: Multi-head Low-rank Adaptation for Parameter Efficient Fine-tuning", 2023.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from acclimate.engine import zeros
from acclimate.methods.lora import LoRA
from acclimate.sites import Site

__all__ = ["Hydra"]


class Hydra(LoRA):
    """A low-rank update of the matrix beside one of its output.

    >>> Hydra(rank=4).scale
    1.0
    """

    class Module(LoRA.Module):
        method: Hydra

        def build(self, site: Site) -> None:
            super().build(site)
            rank, out = self.method.rank, site.shape[-2]
            bound = 1 / math.sqrt(out)
            self.read = nn.Parameter(zeros((*site.shape[:-2], rank, out), site).uniform_(-bound, bound))  # (rank, out)
            self.write = zeros((*site.shape[:-2], out, rank), site)  # (out, rank)

        def weight(self, W: Tensor) -> Tensor:
            return W + self.method.scale * (self.write @ (self.read @ W.to(self.read.dtype))) + self.delta()

        def bias(self, b: Tensor | None) -> Tensor | None:
            return None if b is None else b + self.method.scale * (self.write @ (self.read @ b.to(self.read.dtype)))

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            z = self.layout.mix(self.layout.mix(y, self.read), self.write)
            return super().output(x, y) + (self.method.scale * z).to(y.dtype)
