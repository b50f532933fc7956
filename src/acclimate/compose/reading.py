"""What a gate reads where it sits: the features of each token, or of each row.

weights and calls    what goes in, where the last axis are its channels; otherwise what comes out, a mean over places
attention            the queries, with their heads side by side
"""

from __future__ import annotations

from torch import Tensor

from acclimate.sites import Site

__all__ = ["features", "width"]


def width(site: Site) -> int:
    """The channels of what a gate reads at a site."""
    if site.kind == "attention":
        assert site.heads is not None
        return site.heads[0] * site.heads[2]
    if site.kind == "weight" and site.layout.rowwise:
        return site.shape[-1]
    return site.width


def features(x: Tensor, y: Tensor, width: int, by_row: bool) -> Tensor:
    """(rows, tokens, width), or (rows, width) where places or tokens do not count."""
    read = x if x.is_floating_point() and x.shape[-1] == width else y
    if read.shape[-1] != width:  # channels first
        return read.flatten(2).mean(-1)
    return read.flatten(1, -2).mean(1) if by_row and read.dim() > 2 else read
