"""A low-rank update of a matrix's directions beside free magnitudes of its columns and of its rows.

    m_row * V' / ||V'||_row,   V' = m_col * V / ||V||_col,   V = W + s B A        m: at first the norms of W

Norms are taken as constant in the backward pass, as in `DoRA`, which is the case where the columns keep theirs.

Wang, Wang, Ding, Chen, Chen, "BoRA: Bi-dimensional Weight-Decomposed Low-Rank Adaptation", 2024.
"""

from __future__ import annotations

from torch import Tensor, nn

from acclimate.methods.lora import LoRA
from acclimate.sites import Site

__all__ = ["BoRA"]


class BoRA(LoRA):
    """Weight-decomposed low-rank update, symmetric in rows and columns.

    >>> BoRA(rank=4).scale
    1.0
    """

    class Module(LoRA.Module):
        broadcasts = False
        method: BoRA
        output = None  # type: ignore[assignment]

        def build(self, site: Site) -> None:
            super().build(site)
            W = site.value().float()
            self.columns = nn.Parameter(_norms(W, -2).clone())  # (1, in)
            self.rows = nn.Parameter(_norms(W, -1).clone())  # (out, 1)

        def weight(self, W: Tensor) -> Tensor:
            V = super().weight(W.to(self.up.dtype))
            V = self.columns / _norms(V.detach(), -2) * V
            return self.rows / _norms(V.detach(), -1) * V


def _norms(V: Tensor, axis: int) -> Tensor:
    return V.contiguous().norm(dim=axis, keepdim=True).clamp_min(1e-12)
