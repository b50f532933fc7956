"""An adapter that follows the one that is taught, slowly, and stays when the run has ended.

    offline_j <- decay offline_j + (1 - decay) online_j        after each update

The offline adapter is one of the model's, disabled, of the same methods at the same sites: it is made as a copy before the
first update if it is not there, and taken up where it is. Decay 0 is the online adapter, 1 never moves.

Gao, Zhao, Sun, Xi, Zhang, Ghanem, Zhang, "A Unified Continual Learning Framework with General Parameter-Efficient
Tuning", 2023.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from acclimate.engine import Adapter, adapters
from acclimate.players.player import Player, PlayerState

__all__ = ["Accumulated"]


class Accumulated(Player):
    """Into the adapter named ``into``, of the one adapter that is taught.

    >>> Accumulated(decay=0.99)
    Accumulated(into='offline', decay=0.99)
    """

    into: str = "offline"
    decay: float = 0.9999

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"Accumulated(decay={self.decay}) cannot work: decay must be in [0, 1]")

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> AccumulatedState:
        own = {id(p) for _, p in named}
        taught = [a for n, a in adapters(model).items() if n != self.into and a.enabled and _held(a, own)]
        if len(taught) != 1:
            raise ValueError(
                f"{self} follows one adapter, and {len(taught)} are taught: {', '.join(a.name for a in taught) or 'none'}"
            )
        there = adapters(model)
        offline = there[self.into] if self.into in there else taught[0].copy(self.into)
        return AccumulatedState(self.decay, taught[0], offline)


class AccumulatedState(PlayerState):
    def __init__(self, decay: float, online: Adapter, offline: Adapter) -> None:
        self.decay = decay
        followed, self.held = online.tensors(), offline.tensors()
        if {n: t.shape for n, t in followed.items()} != {n: t.shape for n, t in self.held.items()}:
            raise ValueError(
                f"the adapter {offline.name!r} is not of the same methods and sites as {online.name!r}: detach it, or name another"
            )
        self.pairs = list({id(self.held[n]): (self.held[n], followed[n]) for n in followed}.values())
        self.start = [one.detach().clone() for one, _ in self.pairs]

    @torch.no_grad()
    def learn(self) -> None:
        for one, other in self.pairs:
            one.lerp_(other, 1 - self.decay) if one.is_floating_point() else one.copy_(other)

    def tensors(self) -> dict[str, Tensor]:
        return {str(number): one.detach().clone() for number, (one, _) in enumerate(self.pairs)}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for number, (one, _) in enumerate(self.pairs):
            one.copy_(tensors[str(number)])

    @torch.no_grad()
    def reset(self) -> None:
        for (one, _), start in zip(self.pairs, self.start, strict=True):
            one.copy_(start)


def _held(adapter: Adapter, own: set[int]) -> bool:
    return any(id(parameter) in own for parameter in adapter.parameters())
