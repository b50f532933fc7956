"""Digits of high and of low quality: as they are, and blurred by a mean over 3 by 3 pixels, twice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.bench.digits import Part
from acclimate.bench.relearn import known

__all__ = ["blurred", "sharpness"]


def blurred(part: Part) -> tuple[Tensor, Tensor]:
    """Images (rows, 64) that are blurred, and labels (rows,).

    >>> blurred("test")[0].shape
    torch.Size([600, 64])
    """
    images, labels = known(part)
    soft = images.reshape(-1, 1, 8, 8)
    for _ in range(2):
        soft = F.avg_pool2d(soft, 3, 1, 1)
    return soft.flatten(1), labels


def sharpness(images: Tensor) -> Tensor:
    """A quality in [0, 1] for each row, from how much neighbouring pixels differ; nothing in it is learned.

    >>> bool((sharpness(known("test")[0]) > 0.9).all()), bool((sharpness(blurred("test")[0]) < 0.1).all())
    (True, True)
    """
    square = images.reshape(-1, 8, 8)
    steps = square.diff(dim=1).square().mean((1, 2)) + square.diff(dim=2).square().mean((1, 2))
    return torch.sigmoid((steps - 0.1) / 0.02)
