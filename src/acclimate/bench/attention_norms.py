"""How well a polynomial stands in for the exponential of attention in a LoRA's gradient, by the size of queries and keys.

    Y = D^-1 exp(Q K^T / d) V,  Q = X (W_q + B A)^T,  K = X W_k^T        exp by its Taylor polynomial of some degree

X: (tokens, width). Sizes are the largest entries of Q and K. A polynomial of low degree is what makes attention a product of
thin matrices, and its gradient quick.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acclimate.bench import docstring_task as task
from acclimate.bench.planted import drawn

__all__ = ["gradient_error", "sizes"]

TOKENS, WIDTH, RANK = 64, 16, 4


def gradient_error(size: float, degree: int, seed: int) -> float:
    """The distance of the polynomial's gradient for B from the exact one, as a share of its length, with Q and K of a size.

    >>> gradient_error(0.5, 3, 0) < gradient_error(4.0, 3, 0)
    True
    """
    x, w_q, w_k, w_v = (
        drawn(seed + k, *shape).double() for k, shape in enumerate([(TOKENS, WIDTH)] + 3 * [(WIDTH, WIDTH)])
    )
    w_q, w_k = size * w_q / (x @ w_q.mT).abs().max(), size * w_k / (x @ w_k.mT).abs().max()
    down, target = drawn(seed + 7, RANK, WIDTH).double(), drawn(seed + 8, TOKENS, WIDTH).double()
    found = []
    for exact in (True, False):
        up = torch.zeros(WIDTH, RANK, dtype=torch.float64, requires_grad=True)
        scores = (x @ (w_q + up @ down).mT) @ (x @ w_k.mT).mT
        weights = (scores / WIDTH).exp() if exact else _taylor(scores / WIDTH, degree)
        y = weights / weights.sum(1, keepdim=True) @ (x @ w_v.mT)
        (gradient,) = torch.autograd.grad((y - target).square().sum(), up)
        found.append(gradient)
    return float((found[1] - found[0]).norm() / found[0].norm())


def _taylor(scores: Tensor, degree: int) -> Tensor:
    return torch.stack([scores**k / math.factorial(k) for k in range(degree + 1)]).sum(0)


@torch.no_grad()
def sizes() -> dict[str, list[float]]:
    """The largest entries of queries and keys in each layer of MiniLM, on four texts of 64 tokens, over the root of log 64."""
    encoder = task.encoder()
    found: dict[str, list[float]] = {"queries": [], "keys": []}
    handles = [
        module.register_forward_hook(lambda _, x, y, kind=kind: found[kind].append(float(y.abs().max())))
        for layer in encoder.encoder.layer
        for kind, module in (("queries", layer.attention.self.query), ("keys", layer.attention.self.key))
    ]
    try:
        encoder(**task.longest(4, 64))
    finally:
        for handle in handles:
            handle.remove()
    threshold = math.sqrt(math.log(64))
    return {kind: [round(value / threshold, 1) for value in values] for kind, values in found.items()}
