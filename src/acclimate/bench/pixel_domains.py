"""Digits whose pixels have changed places in one way a domain, for the small digits network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.bench.digits import Part
from acclimate.bench.relearn import known
from acclimate.loops import evaluate

__all__ = ["accuracy", "domain", "mixed"]


def domain(number: int, part: Part) -> tuple[Tensor, Tensor]:
    """Images (rows, 64) in the domain's order, and labels (rows,).

    >>> torch.equal(domain(0, "test")[0].sum(1), domain(1, "test")[0].sum(1))
    True
    """
    images, labels = known(part)
    return images[:, torch.randperm(64, generator=torch.Generator().manual_seed(number))], labels


def mixed(numbers: tuple[int, ...], part: Part) -> tuple[Tensor, Tensor]:
    """Several domains, one after the other."""
    found = [domain(number, part) for number in numbers]
    return torch.cat([images for images, _ in found]), torch.cat([labels for _, labels in found])


def accuracy(model: nn.Module, *numbers: int) -> float:
    """On held-out images, in percent; the mean over domains.

    >>> from acclimate.bench.relearn import network
    >>> accuracy(network(), 0, 1) < 40
    True
    """
    found = [evaluate(model, domain(number, "test")).accuracy or 0.0 for number in numbers]
    return 100 * sum(found) / len(found)
