"""An update of high rank from factors of low rank: the matrix itself, each entry times one of a product.

    W + (alpha / rank) W * (B A)        * element by element; B zero at first

Huang, Ko, Zhuang, Zhang, Wang, Li et al., "HiRA: Parameter-Efficient Hadamard High-Rank Adaptation for Large Language
Models", 2025.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from acclimate.methods.lora import LoRA
from acclimate.sites import Site

__all__ = ["HiRA"]


class HiRA(LoRA):
    """The settings of LoRA; where W is zero nothing can change.

    >>> HiRA(rank=16).scale
    1.0
    """

    weighs: ClassVar[bool] = True

    def refuses(self, site: Site) -> str:
        return "" if site.value().any() else "needs a matrix that is not zero"

    class Module(LoRA.Module):
        broadcasts = False
        method: HiRA
        output = None  # type: ignore[assignment]

        def weight(self, W: Tensor) -> Tensor:
            return W + W * self.delta()
