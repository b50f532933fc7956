"""An update of blocks that are circulant: each row is the one above it moved on by one.

    W_ij + C(c_ij) / in        C(c)[a, b] = c[(a - b) mod size], blocks of (size, size)

A block has ``size`` numbers, and its rank can be full. Chen, Tang, Zhang, Liu, Wang et al., "Parameter-Efficient Fine-Tuning via
Circular Convolution", 2025.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from acclimate.engine import AdapterModule, Method, no_matrix, positive, zeros
from acclimate.sites import Site

__all__ = ["Circulant"]


class Circulant(Method):
    """``size`` divides both sides of the matrix.

    >>> Circulant(size=16).size
    16
    """

    size: int = 4
    at: ClassVar[str] = "attention"
    learning_rate: ClassVar[float] = 1e-1

    def __post_init__(self) -> None:
        positive(self, size=self.size)

    def refuses(self, site: Site) -> str:
        return no_matrix(site, self.size)

    def fits(self, site: Site) -> bool:
        return not self.refuses(site)

    class Module(AdapterModule):
        method: Circulant
        moved: Tensor

        def build(self, site: Site) -> None:
            size, (out, into) = self.method.size, site.shape
            self.inputs = into
            numbers = torch.arange(size, device=site.device)
            self.register_buffer("moved", (numbers[:, None] - numbers) % size, persistent=False)
            self.kernel = zeros((out // size, into // size, size), site)

        def delta(self) -> Tensor:
            blocks = self.kernel[:, :, self.moved]  # (row of blocks, column of blocks, size, size)
            return blocks.movedim(2, 1).flatten(2).flatten(0, 1) / self.inputs

        def weight(self, W: Tensor) -> Tensor:
            return W + self.delta()
