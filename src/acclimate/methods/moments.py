"""Mean and variance over axes, in passes that a CPU does many numbers at a time: `torch.var_mean` over several axes does one.

m = mean(x),    v = mean((x - m)^2)
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["moments"]


def moments(x: Tensor, axes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Both with the axes kept, of one place each.

    >>> import torch
    >>> [part.tolist() for part in moments(torch.tensor([[1.0, 3.0]]), [1])]
    [[[2.0]], [[1.0]]]
    """
    mean = x.mean(tuple(axes), keepdim=True)
    return mean, (x - mean).square().mean(tuple(axes), keepdim=True)
