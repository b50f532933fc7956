"""What a router of tokens is measured against: chance, the parallel adapter of every token, and the base's FLOPs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from acclimate.bench import docstring_task as task
from acclimate.engine import Adapter, attach
from acclimate.methods import Bottleneck, TokenRouter

__all__ = ["by_chance", "flops", "whole_is_parallel"]

HARD = 1e3
"""Times its usual size, a router's weights are all ones and zeros."""


@contextmanager
def by_chance(model: nn.Module, adapter: Adapter, size: float = HARD) -> Iterator[None]:
    """Inside, every forward draws every router anew, ``size`` times as large as a router is made.

    >>> import acclimate as acc
    >>> model = nn.Sequential(nn.Linear(4, 4))
    >>> adapter = acc.attach(model, acc.TokenRouter(keep=0.5), at="0")
    >>> x = torch.randn(1, 8, 4)
    >>> with by_chance(model, adapter):
    ...     torch.equal(model(x), model(x))
    False
    """
    routers = [p for name, p in adapter.named_parameters() if name.endswith("/router")]
    generator = torch.Generator().manual_seed(0)

    @torch.no_grad()
    def draw(*_: Any) -> None:
        for router in routers:
            router.copy_(size / math.sqrt(router.shape[-1]) * torch.randn(router.shape, generator=generator))

    handle = model.register_forward_pre_hook(draw)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def whole_is_parallel(seed: int, width: int = 16) -> float:
    """How far a router that keeps every token is from the parallel bottleneck of the same matrices, over MiniLM's largest
    output."""
    model, batch, found = task.encoder(), task.longest(4, 12), []
    generator = torch.Generator().manual_seed(seed)
    up = 0.1 * torch.randn(model.config.hidden_size, width, generator=generator)
    down = 0.1 * torch.randn(width, model.config.hidden_size, generator=generator)
    for method in (TokenRouter(keep=1, width=width), Bottleneck(width=width, reads="input")):
        adapter = attach(model, method, at="block")
        for name, parameter in adapter.named_parameters():
            if name.endswith(("/up", "/down")):
                parameter.copy_(up if name.endswith("/up") else down)
        found.append(model(**batch).last_hidden_state)
        adapter.detach()
    return float((found[0] - found[1]).abs().max() / found[0].abs().max())


def flops(keep: float) -> float:
    """FLOPs of MiniLM with a router in every block, over those of MiniLM as it is, on texts of 32 tokens."""
    adapter = attach(task.encoder(), TokenRouter(keep=keep), at="block")
    try:
        cost = adapter.cost(task.longest(4, 32))
        return cost.flops / cost.base_flops
    finally:
        adapter.detach()
