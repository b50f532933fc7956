"""Experts that are known to be in a layer, and digits that are not like those a network was tuned on.

The planted layer has ``experts`` groups of hidden units; those of a group have keys near one direction, and each input
lies along two of the directions, so that every other group's units are shut (ReLU) whatever is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.bench.planted import drawn
from acclimate.bench.relearn import rearranged
from acclimate.engine import Adapter
from acclimate.loops import evaluate
from acclimate.methods import EmergentExperts

__all__ = ["EXPERTS", "WIDTH", "corrupted", "planted", "shuffled"]

EXPERTS, WIDTH, UNITS = 8, 32, 16


def planted(seed: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A feed-forward, inputs (256, WIDTH) and which of the EXPERTS each hidden unit was planted in.

    >>> model, x, expert = planted(0)
    >>> [tuple(model(x).shape), expert.bincount().tolist() == [16] * 8]
    [(256, 32), True]
    """
    directions = torch.linalg.qr(drawn(seed, WIDTH, WIDTH))[0][:EXPERTS]
    expert = torch.arange(EXPERTS * UNITS) % EXPERTS
    expert = expert[drawn(seed + 1, len(expert)).argsort()]
    up, down = nn.Linear(WIDTH, len(expert)), nn.Linear(len(expert), WIDTH)
    model = nn.Sequential(up, nn.ReLU(), down)
    with torch.no_grad():
        up.weight.copy_(directions[expert] + 0.02 * drawn(seed + 2, len(expert), WIDTH))
        up.bias.fill_(-0.5)
        down.weight.copy_(drawn(seed + 3, WIDTH, len(expert)))
    two = drawn(seed + 4, 256, EXPERTS).topk(2, -1).indices
    x = (1 + drawn(seed + 5, 256, 2).abs()).unsqueeze(-1) * directions[two]
    return model.requires_grad_(False).eval(), x.sum(1), expert


@torch.no_grad()
def shuffled(adapter: Adapter, seed: int) -> Adapter:
    """Groups of the same sizes, of units that have nothing in common."""
    for _, module in adapter.modules():
        assert isinstance(module, EmergentExperts.Module)
        module.expert.copy_(module.expert[drawn(seed, len(module.expert)).argsort()])
    return adapter


def corrupted(model: nn.Module) -> tuple[float, float]:
    """Accuracy in percent on held-out rearranged digits, and its mean over three corruptions of them."""
    images, labels = rearranged("test")
    noise = drawn(0, *images.shape)
    ways = (images + 0.25 * noise).clamp(0, 1), 0.4 * images, images * (noise > -0.5)
    found = [100 * (evaluate(model, (each, labels)).accuracy or 0.0) for each in (images, *ways)]
    return found[0], sum(found[1:]) / len(ways)
