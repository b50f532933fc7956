"""Attention of each place to its neighbourhood alone, beside a convolution.

    y_i + U sum_(j in N(i)) a_ij V y_j        a_i = softmax_j(Q y_i . K y_j / sqrt(width) + b_(j - i)),  |j - i| <= reach both ways

b is learned, one number for each way to a neighbour; places outside the image are none; U is zero at first. In a panorama nearby
places are bent alike, so that a small neighbourhood sees little of the distortion.

Zheng, Zhu, Liu, Cao, Fu, Wang, "Look at the Neighbor: Distortion-aware Unsupervised Domain Adaptation for Panoramic Semantic
Segmentation", 2023, where it is in the place of the attention of a transformer's last stage (13 by 13 places, several heads);
at the edge of the image their neighbourhood moves inwards, and here it is cut off.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, positive, zeros
from acclimate.methods.side import drawn
from acclimate.sites import Kind, Site

__all__ = ["Neighbours"]


class Neighbours(Method):
    """``width`` channels look ``reach`` places each way (None: a quarter of the site's).

    >>> Neighbours(reach=1).width is None
    True
    """

    width: int | None = None
    reach: int = 2

    kind: ClassVar[Kind] = "call"

    def __post_init__(self) -> None:
        positive(self, reach=self.reach, width=1 if self.width is None else self.width)

    def refuses(self, site: Site) -> str:
        images = isinstance(site.module, nn.Conv2d | nn.ConvTranspose2d)
        return "" if images else "looks at places beside one another, as a convolution of images puts them out"

    class Module(AdapterModule):
        method: Neighbours

        def build(self, site: Site) -> None:
            channels = site.width
            self.narrow = self.method.width or max(1, channels // 4)
            self.query, self.key, self.value = (drawn(self.narrow, channels, site) for _ in range(3))
            self.near = zeros(((2 * self.method.reach + 1) ** 2,), site)
            self.up = zeros((channels, self.narrow), site)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            places = y.to(self.up.dtype).flatten(2)  # (rows, channels, places)
            key, value = (self.gathered(_across(matrix, places), y.shape) for matrix in (self.key, self.value))
            inside = self.gathered(torch.ones_like(places[:1, :1]).expand(1, self.narrow, -1), y.shape)[:, 0] > 0
            likeness = (_across(self.query, places).unsqueeze(2) * key).sum(1) / math.sqrt(self.narrow)
            share = (likeness + self.near[:, None]).masked_fill(~inside, -torch.inf).softmax(1)
            seen = (share.unsqueeze(1) * value).sum(2)
            return y + _across(self.up, seen).view_as(y).to(y.dtype)

        def gathered(self, h: Tensor, shape: torch.Size) -> Tensor:
            """(rows, width, places) to (rows, width, neighbours, places), 0 outside the image."""
            reach = self.method.reach
            image = h.reshape(len(h), self.narrow, *shape[2:])
            near = F.unfold(image, 2 * reach + 1, padding=reach)
            return near.view(len(h), self.narrow, -1, near.shape[-1])


def _across(matrix: Tensor, h: Tensor) -> Tensor:
    """(rows, in, places) to (rows, out, places). `@` sums in another order where the matrix is trained than where it is not."""
    return torch.einsum("oi,rip->rop", matrix, h)
