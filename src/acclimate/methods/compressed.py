"""A low-rank update that keeps little of its inputs until they are needed for its gradient.

    y + scale B A x        dL/dA = sum_t (dL/dz_t) x'_t^T,   z = A x,   x'_t = gain (x_t, each of its pieces along v alone)

x_t is cut into ``groups`` pieces of one length, and of each one number is kept, its product with v: the mean of all pieces of the
batch, or a direction that is drawn once, of length one. What goes forward, and the gradient of x, B and all below, is `LoRA`'s. A's
comes of a product of the numbers kept with A's own pieces along v, so that no x' is ever made.

Miles, Reddy, Elezi, Deng, "VeLoRA: Memory Efficient Training using Rank-1 Sub-Token Projections", 2024. There, and in PEFT if asked
to, v stays what it was in the first batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.engine import MethodError, positive
from acclimate.methods.lora import LoRA, dropped
from acclimate.sites import Site, linear
from acclimate.sites.layout import Matrix

__all__ = ["VeLoRA"]


class VeLoRA(LoRA):
    """``groups`` numbers are kept of each input; ``along`` says what v is, ``gain`` how much of x' counts.

    >>> VeLoRA(rank=8, groups=32).groups
    32
    """

    groups: int = 64
    gain: float = 1.0
    along: Literal["mean", "drawn"] = "mean"
    coupled = True  # the mean is over all rows

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, groups=self.groups, gain=self.gain)
        if self.along not in ("mean", "drawn"):
            raise MethodError(f"along={self.along!r} is neither 'mean' nor 'drawn'")

    def refuses(self, site: Site) -> str:
        return "" if isinstance(site.layout, Matrix) else "keeps less of what enters a linear layer"

    def fits(self, site: Site) -> bool:
        return super().fits(site) and not self.refuses(site)

    class Module(LoRA.Module):
        method: VeLoRA
        direction: Tensor

        def build(self, site: Site) -> None:
            super().build(site)
            drawn = F.normalize(torch.randn(-(-site.shape[-1] // self.method.groups)), dim=0)
            if self.method.along == "drawn":
                self.register_buffer("direction", drawn.to(site.device))

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if not (self.training and torch.is_grad_enabled()):
                return super().output(x, y)
            x = dropped(self, x)
            z = self.layout.mix(self.projected(x), self.weighed())
            if self.moved:
                z = z - self.layout.mix(self.layout.project(x, self.down0), self.up0)
            return y + (self.method.scale * z).to(y.dtype)

        def projected(self, x: Tensor) -> Tensor:
            """A x, of which the numbers kept are all that A's gradient sees."""
            kept, v = self.kept(x.detach())
            small = self.method.gain * self.pieces(self.down) @ v  # (rank, groups)
            seen = linear(kept, small)
            return linear(x, self.down.detach()) + (seen - seen.detach())

        def kept(self, x: Tensor) -> tuple[Tensor, Tensor]:
            """A number for each group (..., groups), and v."""
            pieces = self.pieces(x.to(self.down.dtype))
            if self.method.along == "drawn":
                v = self.direction
            else:
                v = F.normalize(pieces.reshape(-1, pieces.shape[-1]).mean(0), dim=0)
            return pieces @ v, v

        def pieces(self, x: Tensor) -> Tensor:
            """(..., in) as (..., groups, length), with zeros behind."""
            length = -(-x.shape[-1] // self.method.groups)
            padded = F.pad(x, (0, self.method.groups * length - x.shape[-1]))
            return padded.reshape(*x.shape[:-1], self.method.groups, length)
