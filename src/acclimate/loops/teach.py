"""The model while it is taught: what is frozen stays frozen, and what cannot teach is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from acclimate.loops.loop import LoopError
from acclimate.losses import Loss, Seen
from acclimate.sites import HOST

__all__ = ["refuse_idle", "training"]


@contextmanager
def training(model: nn.Module) -> Iterator[None]:
    """Training mode inside, except for frozen norms with running statistics; modes and buffers as they were after."""
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and module.track_running_stats and HOST not in name.split("."):
            module.training = False  # itself alone: what adapts it is below it, and learns
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def refuse_idle(
    loss: Loss, see: Callable[[], Seen], parameters: Sequence[nn.Parameter], networks: Mapping[str, nn.Module]
) -> None:
    """Every term must pull at something, and every network must be pulled: a gradient of exactly zero is refused.

    Looked at away from the start, where a pull to the start or a teacher that equals its pupil would be zero.
    """
    learned = [p for network in networks.values() for p in network.parameters()]
    kept = [p.detach().clone() for p in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter) * 0.1)
        reached: set[int] = set()
        with torch.enable_grad():
            seen = see()
            for weight, term in loss.terms():
                if weight == 0:
                    continue
                pulled = _pulled(term(seen), [*parameters, *learned])
                if not pulled:
                    raise LoopError(
                        f"the term {weight} * {term} teaches nothing: its gradient is exactly zero at the first step; "
                        "leave it out, or give it data that it can tell apart"
                    )
                reached |= pulled
        for name, network in networks.items():
            if not any(id(p) in reached for p in network.parameters()):
                raise LoopError(f"the {name} of {loss} learns nothing: its gradient is exactly zero at the first step")
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def _pulled(value: Tensor, parameters: Sequence[nn.Parameter]) -> set[int]:
    if not value.requires_grad:
        return set()
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True)
    return {id(p) for p, g in zip(parameters, gradients, strict=True) if g is not None and bool(g.count_nonzero())}
