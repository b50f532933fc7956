"""A stream's adapter begins with values that were learned before it, under labels for one.

    w_j(0) <- v_j        v: an adapter's tensors, ``{name: value}``, of the same methods at the same sites

What began so is where everything starts anew, too. The first of the players, if others remember where parameters began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.players.player import Player, PlayerState

__all__ = ["WarmStart"]


class WarmStart(Player):
    """``values`` are what `Adapter.tensors` gave; those that are not trained are left out. None: as the method begins.

    Take the adapter that they are of out of the model, or disable it, for both would act.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = WarmStart({"0/weight": torch.ones(1, 1)}).begin(layer, [("0.weight", layer.weight)])
    >>> layer.weight.item()
    1.0
    """

    values: Any = None

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> PlayerState:
        if self.values is not None:
            _fill(self.values, named)
        return PlayerState()


@torch.no_grad()
def _fill(values: Mapping[str, Tensor], named: list[tuple[str, nn.Parameter]]) -> None:
    for name, parameter in named:
        place, _, role = name.rpartition(".")
        value = values.get(f"{place}/{role}")
        if value is None or value.shape != parameter.shape:
            found = "nothing" if value is None else f"a tensor {tuple(value.shape)}"
            raise ValueError(
                f"WarmStart has {found} for {place}/{role}, which is {tuple(parameter.shape)}: give the tensors of an adapter of "
                "the same methods at the same sites"
            )
        parameter.copy_(value)
