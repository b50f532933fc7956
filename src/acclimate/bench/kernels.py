"""Random features against the kernel they stand for: how well they estimate it, and what is solved on them in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.bench.planted import drawn
from acclimate.engine import attach
from acclimate.methods import RandomBottleneck
from acclimate.methods.random_bottleneck import arc_cosine

__all__ = ["at_features", "by_kernel", "estimates"]

CHANNELS = 16
RIDGE = 0.1


def _features(x: Tensor, many: int, seed: int, activation: str) -> Tensor:
    """psi of rows (n, channels), as the method computes it, (n, many)."""
    model = torch.nn.Sequential(torch.nn.Linear(x.shape[1], x.shape[1]))
    adapter = attach(model, RandomBottleneck(width=many, seed=seed, activation=activation), at="0")
    module = next(module for _, module in adapter.modules())
    assert isinstance(module, RandomBottleneck.Module)
    module.double()
    with torch.no_grad():
        return module.middle(x)


def estimates(many: int, activation: str = "relu", draws: int = 200) -> tuple[float, float]:
    """Over draws of so many features: the largest bias in standard errors, and the root of the mean squared error.

    >>> bias, error = estimates(64, draws=100)
    >>> bias < 4
    True
    """
    w, h = drawn(0, 3, CHANNELS).double() / 4, drawn(1, 3, CHANNELS).double() / 4
    wanted = arc_cosine(w, h)
    found = torch.stack(
        [_features(w, many, seed, activation) @ _features(h, many, seed, activation).mT for seed in range(draws)]
    )
    error = found * CHANNELS / many - wanted
    bias = error.mean(0).abs() / (error.std(0) / draws**0.5)
    return float(bias.max()), float(error.square().mean().sqrt())


def _regression(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    x = drawn(seed, 60, CHANNELS).double()
    return x[:40], torch.sin(x[:40, :3]), x[40:]


def at_features(seed: int, activation: str = "relu") -> Tensor:
    """Answers (20, 3) to held-out rows of a ridge regression on 32 features: the matrix that least squares gives."""
    x, y, asked = _regression(seed)
    psi, other = (_features(rows, 32, seed, activation) for rows in (x, asked))
    solved: Tensor = torch.linalg.solve(psi.mT @ psi + RIDGE * torch.eye(32, dtype=psi.dtype), psi.mT @ y)
    return other @ solved


def by_kernel(seed: int, activation: str = "relu") -> Tensor:
    """The same rows by regression with the kernel of the features, in which no matrix appears.

    >>> torch.allclose(at_features(0), by_kernel(0))
    True
    """
    x, y, asked = _regression(seed)
    psi, other = (_features(rows, 32, seed, activation) for rows in (x, asked))
    solved: Tensor = torch.linalg.solve(psi @ psi.mT + RIDGE * torch.eye(len(x), dtype=psi.dtype), y)
    return other @ psi.mT @ solved
