"""What a stream will need and a checkpoint lacks, taught once where the model comes from: a second head on its features.

    for each batch:  players show views;  the loss teaches the second head;  the model itself is held

Labels are not asked for. The head is an adapter like any other: it is saved with what else it keeps, and loaded on another machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from acclimate.engine import Adapter, Method, adapters, attach
from acclimate.loops.fit import fit
from acclimate.loops.loop import LoopError
from acclimate.loops.source_free import source_free
from acclimate.losses import Loss
from acclimate.players import Player
from acclimate.rules import Gradient, Rule
from acclimate.sites import At

__all__ = ["taught_beforehand"]


def taught_beforehand(
    model: nn.Module,
    inputs: Any,
    method: Mapping[Method, At],
    loss: Loss,
    players: Sequence[Player],
    epochs: int = 5,
    rule: Rule | None = None,
    name: str = "second",
    seed: int = 0,
) -> Adapter:
    """Attach ``method`` and teach it on ``inputs`` of the source, a tensor or `Batches`; its adapter, which is left enabled.

    Methods that look at data first see all of a tensor. `LoopError` where other adapters are enabled, which would learn too, or
    where nothing was learned.

    >>> from acclimate.bench.convnet import pretrained
    >>> from acclimate.bench.digits import digits
    >>> from acclimate.losses import WhichView
    >>> from acclimate.methods import SecondHead
    >>> from acclimate.players import TURNS, SecondViews
    >>> turns = (SecondViews(TURNS, views=4),)
    >>> adapter = taught_beforehand(pretrained(), digits("train")[0][:64], {SecondHead(4): "head"}, WhichView(), turns, epochs=1)
    >>> adapter.name
    'second'
    """
    others = [other for other, adapter in adapters(model).items() if adapter.enabled]
    if others:
        raise LoopError(f"the adapter {others[0]!r} is enabled and would be taught too: disable it first")
    seen = inputs if isinstance(inputs, torch.Tensor) else None
    adapter = attach(model, method, name=name, data=seen, seed=seed)
    before = [parameter.detach().clone() for parameter in adapter.parameters()]
    data = (inputs,) if isinstance(inputs, torch.Tensor) else inputs
    # what is heard and not given moves no output, so the check of an adapter's effect has nothing to look at
    fit(
        model,
        data,
        loss,
        source_free(epochs=epochs),
        rule or Gradient(),
        players,
        seed=seed,
        check=False,
        progress=False,
    )
    if all(torch.equal(now, then) for now, then in zip(adapter.parameters(), before, strict=True)):
        adapter.detach()
        raise LoopError(
            f"{loss} taught nothing of {name!r}: its gradient is zero; give players that show what it needs"
        )
    return adapter
