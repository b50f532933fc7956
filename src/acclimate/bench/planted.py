"""A change of a known form, planted in a trained layer: how near a method of the same form, or another, comes to it.

The layer is the second of the small digits network (128 by 128), its inputs are what the digits put there, and the
target is what the changed layer would answer.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from acclimate.bench.relearn import known, network
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import MeanSquares
from acclimate.rules import Gradient

__all__ = ["drawn", "inputs", "layer", "left_over"]


def layer() -> nn.Linear:
    """The trained layer, (128, 128).

    >>> layer().weight.shape
    torch.Size([128, 128])
    """
    found = network()[2]
    assert isinstance(found, nn.Linear)
    return found


@functools.cache
def inputs(part: str) -> Tensor:
    """What the digits put into it, (rows, 128)."""
    with torch.no_grad():
        found: Tensor = network()[:2](known(part)[0])  # type: ignore[arg-type]
    return found


def drawn(seed: int, *shape: int) -> Tensor:
    """Standard normal numbers of a seed's own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def left_over(
    method: Method, weight: Tensor, seed: int, bias: Tensor | None = None, epochs: int = 60, lr: float = 1e-2
) -> tuple[float, Adapter]:
    """The share of the change that is missing after training, on held-out digits, and the adapter; 1 for the base.

    >>> from acclimate.methods import LoRA
    >>> W = layer().weight.detach()
    >>> missing, _ = left_over(LoRA(rank=1), W + 0.1 * torch.outer(drawn(0, 128), drawn(1, 128)), seed=0, epochs=20)
    >>> missing < 0.1
    True
    """
    taught = layer()
    bias = taught.bias if bias is None else bias
    pupil = nn.Sequential(layer())

    def target(x: Tensor) -> Tensor:
        return nn.functional.linear(x, weight, bias).detach()

    held = inputs("test"), target(inputs("test"))
    before = evaluate(pupil, held).error
    adapter = attach(pupil, method, at="0.weight", seed=seed)
    data = Batches(inputs("train"), target(inputs("train")), 256, seed=seed)
    fit(pupil, data, MeanSquares(), finetune(epochs=epochs), Gradient(lr=lr), seed=seed, check=False, progress=False)
    after = evaluate(pupil, held).error
    assert before is not None and after is not None
    return after / before, adapter
