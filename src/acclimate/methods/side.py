"""A network beside the model that reads what its blocks put out and adds to the last of them alone.

    z_i = D_i stop(b_i)        b_i: what block i puts out
    b_n <- b_n + U s(z_1, ..., z_n)        U is zero at first

Nothing trained comes before the last block, so no activation of the others is kept for a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, positive, zeros
from acclimate.engine.glimpse import Glimpse
from acclimate.engine.relay import handed
from acclimate.sites import Kind, Site, linear

__all__ = ["Side", "placed"]


class Side(Method, init=False):
    """What side networks have in common; the last of its sites, in their order, must be the last that the model runs."""

    width: int = 24

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "block"
    relays: ClassVar[bool] = True
    exceptions = {
        "checkpointing": "it keeps nothing of the blocks, and to recompute one would need what the others handed on"
    }

    def __post_init__(self) -> None:
        positive(self, width=self.width)

    def fits(self, site: Site) -> bool:
        return site.channels is not None and site.leaf and site.path != ""

    def make(self, sites: Sequence[Site], look: Glimpse | None) -> list[AdapterModule]:
        modules = super().make(sites, look)
        last = modules[-1]
        assert isinstance(last, SideModule)
        last.up = zeros((channels(sites[-1]), self.width), sites[-1])
        last.finish(sites[-1])
        return modules


class SideModule(AdapterModule):
    """One block's reading; the last one's holds what the side network has only once."""

    method: Side
    up: Tensor

    def build(self, site: Site) -> None:
        self.down = drawn(self.method.width, channels(site), site)

    def finish(self, site: Site) -> None:
        """Make what only the last site has."""

    def rung(self, z: Tensor, before: Tensor | None) -> Tensor:
        """What is handed on from here, given the reading and what the block before handed on."""
        return z

    def gathered(self, rungs: Sequence[Tensor]) -> Tensor:
        """What is added in the end, (rows, ..., width), of all that was handed on."""
        return rungs[-1]

    def output(self, x: Tensor, y: Tensor) -> Tensor:
        axis = self.layout.axis(y)
        more = self.passed(linear(y.detach().movedim(axis, -1), self.down))
        return y if more is None else y + more.movedim(-1, axis).to(y.dtype)

    def passed(self, z: Tensor) -> Tensor | None:
        """Hand a reading (rows, ..., width) on; at the last site, what is to be added there, (rows, ..., channels)."""
        rungs = handed(self).setdefault(type(self).__qualname__, {})
        rungs[self.turn] = self.rung(z, rungs.get(self.turn - 1))
        if self.turn < self.turns - 1:
            return None
        return linear(placed(self.gathered([rungs[turn] for turn in sorted(rungs)]), z), self.up)


def channels(site: Site) -> int:
    """How many channels pass at a site; at an attention those of all its heads."""
    if site.kind == "attention" and site.heads is not None:
        return site.heads[0] * site.heads[2]
    return site.width


def drawn(out: int, wide: int, site: Site) -> nn.Parameter:
    """A matrix (out, in) that keeps the size of what it is given."""
    return nn.Parameter((torch.randn(out, wide) / math.sqrt(wide)).to(site.device))


def placed(h: Tensor, z: Tensor) -> Tensor:
    """h, (rows, ..., width), as it can be added to z: its mean over places where these are not z's, and nothing where it is of
    other rows, which must not see one another."""
    if h.shape == z.shape:
        return h
    if h.shape[0] != z.shape[0]:
        return torch.zeros_like(z)
    mean = h.flatten(1, -2).mean(1) if h.dim() > 2 else h
    return mean.reshape(mean.shape[0], *(1,) * (z.dim() - 2), mean.shape[-1]).expand(z.shape)


def even(x: Tensor) -> Tensor:
    """x (rows, ..., width) with the channels of each place at mean 0 and variance 1."""
    return F.layer_norm(x, x.shape[-1:])


def neighbours(x: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """A place and the two beside it on an axis of x (rows, ..., width), beyond whose ends is nothing; kernel (width, 3 width)."""
    before = after = none = torch.zeros_like(x)
    if 0 < axis < x.dim() - 1:
        edge, inner = none.narrow(axis, 0, 1), x.shape[axis] - 1
        before, after = (
            torch.cat([edge, x.narrow(axis, 0, inner)], axis),
            torch.cat([x.narrow(axis, 1, inner), edge], axis),
        )
    return linear(torch.cat([before, x, after], -1), kernel)
