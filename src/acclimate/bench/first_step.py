"""What an adapter is before anything was taught: whether it changes a bit, and what the first gradient reaches."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine import Method, attach, only
from acclimate.engine.batch import run_batch
from acclimate.loops.evaluate import logits_of
from acclimate.rules.roles import role_of
from acclimate.sites import At

__all__ = ["reached", "unchanged"]


@torch.no_grad()
def unchanged(model: nn.Module, batch: Any, method: Mapping[Method, At], seed: int) -> bool:
    """Whether the adapted model's answer is the model's own, bit for bit.

    >>> from acclimate.methods import LoRA
    >>> unchanged(nn.Linear(4, 2), torch.ones(1, 4), {LoRA(rank=1): "weight"}, 0)
    True
    """
    adapter = attach(model, dict(method), name="untaught", seed=seed)
    try:
        y = _answer(run_batch(model, batch))
        with only(model):
            return torch.equal(y, _answer(run_batch(model, batch)))
    finally:
        adapter.detach()


def reached(model: nn.Module, batch: Any, labels: Tensor, method: Mapping[Method, At], seed: int) -> dict[str, float]:
    """By role, the share of parameters (one a site) to which the first gradient of cross-entropy comes and is not zero.

    >>> from acclimate.methods import LoRA
    >>> reached(nn.Linear(4, 2), torch.ones(1, 4), torch.tensor([0]), {LoRA(rank=1): "weight"}, 0)
    {'down': 0.0, 'up': 1.0}
    """
    adapter = attach(model, dict(method), name="untaught", seed=seed)
    try:
        named = list(adapter.named_parameters())
        loss = nn.functional.cross_entropy(logits_of(run_batch(model, batch)), labels)
        gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
        found: dict[str, list[float]] = defaultdict(list)
        for (name, _), gradient in zip(named, gradients, strict=True):
            found[role_of(name)].append(float(gradient is not None and bool(gradient.count_nonzero())))
        return {role: sum(shares) / len(shares) for role, shares in found.items()}
    finally:
        adapter.detach()


def _answer(output: Any) -> Tensor:
    """The first of what a model gave: its logits, or an encoder's hidden state."""
    first = output if isinstance(output, Tensor) else next(iter(output.values()))
    assert isinstance(first, Tensor)
    return first
