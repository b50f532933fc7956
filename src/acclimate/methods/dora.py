"""A low-rank update of a matrix's directions beside a free magnitude of each of its rows.

    m * V / ||V||,   V = W + (alpha / rank) B A        m: (out,), at first the norms of the rows of W

The norm is taken as constant in the backward pass, as section 4.3 of the paper proposes.
Liu, Wang, Yin, Molchanov, Wang, Cheng, Chen, "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024.
"""

from __future__ import annotations

from torch import Tensor, nn

from acclimate.methods.lora import LoRA
from acclimate.sites import Site

__all__ = ["DoRA"]


class DoRA(LoRA):
    """Weight-decomposed low-rank update. The rows of the matrix are the output's channels.

    >>> DoRA(rank=4).scale
    1.0
    """

    class Module(LoRA.Module):
        broadcasts = False
        method: DoRA
        output = None  # type: ignore[assignment]

        def build(self, site: Site) -> None:
            super().build(site)
            self.magnitude = nn.Parameter(_norms(site.value().float()).clone())  # (out, 1)

        def weight(self, W: Tensor) -> Tensor:
            V = super().weight(W.to(self.up.dtype))
            return self.magnitude / _norms(V.detach()) * V


def _norms(V: Tensor) -> Tensor:
    return V.contiguous().norm(dim=-1, keepdim=True).clamp_min(1e-12)
