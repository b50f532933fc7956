"""How much each update counts: one function a way, of the updates' inner products alone, so that no matrix is formed.

    given        as given
    slerp        sin((1 - t) a) / sin a  and  sin(t a) / sin a, for the angle a between two, t the second's share; karcher for more
    karcher      the mean on the sphere of directions, times the mean length, as a combination of the updates
    stock        t / n each, t = n c / (1 + (n - 1) c), c the mean cosine: what is common to fine-tunes of one task
    similarity   softmax of the mean cosine with the others, times n and the given weights' mean
    energy       by squared length

Shoemake, "Animating Rotation with Quaternion Curves", 1985. Jang, Yun, Han, "Model Stock: All we need is just a few fine-tuned
models", 2024. Karcher, "Riemannian Center of Mass and Mollifier Smoothing", 1977. Wan et al., "FuseChat", 2024 (energy).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["WAYS"]

Way = Callable[[Tensor, Tensor], Tensor]
"""From inner products (n, n) and given weights (n,) to weights (n,), in float64."""


def _cosines(gram: Tensor) -> Tensor:
    lengths = gram.diagonal().clamp_min(1e-60).sqrt()
    return (gram / lengths / lengths[:, None]).clamp(-1, 1)


def given(gram: Tensor, weights: Tensor) -> Tensor:
    return weights


def slerp(gram: Tensor, weights: Tensor) -> Tensor:
    if len(weights) != 2:
        return karcher(gram, weights)
    t = float(weights[1] / weights.sum())
    angle = math.acos(float(_cosines(gram)[0, 1]))
    if math.sin(angle) < 1e-8:
        return weights / weights.sum()
    return torch.tensor([math.sin((1 - t) * angle), math.sin(t * angle)], dtype=torch.float64) / math.sin(angle)


def karcher(gram: Tensor, weights: Tensor) -> Tensor:
    share = weights / weights.sum()
    cosines, lengths = _cosines(gram), gram.diagonal().clamp_min(1e-60).sqrt()
    mean = share.clone()  # in the basis of the directions
    for _ in range(100):
        mean = mean / (mean @ cosines @ mean).clamp_min(1e-60).sqrt()
        along = (cosines @ mean).clamp(-1, 1)
        angle = along.acos()
        pull = share * torch.where(angle < 1e-9, torch.ones_like(angle), angle / angle.sin().clamp_min(1e-30))
        step = pull - (pull * along).sum() * mean
        size = (step @ cosines @ step).clamp_min(0).sqrt()
        if size < 1e-12:
            break
        mean = size.cos() * mean + size.sin() / size * step
    return mean * (share @ lengths) / lengths


def stock(gram: Tensor, weights: Tensor) -> Tensor:
    n = len(weights)
    if n < 2:
        return weights
    cosine = (_cosines(gram).sum() - n) / (n * (n - 1))
    below = 1 + (n - 1) * cosine
    share = n * cosine / below if float(below.abs()) > 1e-6 else torch.zeros(())
    return share.clamp_min(0) * weights / weights.sum()


def similarity(gram: Tensor, weights: Tensor) -> Tensor:
    n = len(weights)
    near = (_cosines(gram).sum(1) - 1) / max(1, n - 1)
    return weights * near.softmax(0) * n


def energy(gram: Tensor, weights: Tensor) -> Tensor:
    share = gram.diagonal()
    return share / share.sum().clamp_min(1e-60) * weights.sum()


WAYS: dict[str, Way] = {way.__name__: way for way in (given, slerp, karcher, stock, similarity, energy)}
