"""Rows teach that the model is surer of than it usually is.

    w_i = [max_k p_ik >= sqrt(m)],    m <- decay m + (1 - decay) mean_i max_k p_ik,   before the batch is judged

The surest row of a batch teaches always, so that an update is made and what else teaches there has its part.

Marsden, Doebler, Yang, "Gradual Test-Time Adaptation by Self-Training and Style Transfer", 2022 (decay .9, and .9 at first; there
a batch may have no such row).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from acclimate.losses import Seen
from acclimate.players.filters.filter import Filter, FilterState

__all__ = ["Confident"]


class Confident(Filter):
    """``first`` is how sure the model is taken to be before anything came.

    >>> Confident().decay
    0.9
    """

    decay: float = 0.9
    first: float = 0.9

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or not 0 <= self.first <= 1:
            raise ValueError(f"{self} cannot work: decay must be in [0, 1), and first is a probability")

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> ConfidentState:
        return ConfidentState(self, model)


class ConfidentState(FilterState):
    """``usual`` is how sure the model has been on average."""

    filter: Confident
    usual: float

    def __init__(self, filter: Confident, model: nn.Module) -> None:
        super().__init__(filter, model)
        self.reset()

    def weights(self, seen: Seen) -> Tensor:
        sure = seen.logits.detach().softmax(1).amax(1)
        self.usual = self.filter.decay * self.usual + (1 - self.filter.decay) * float(sure.mean())
        return (sure >= min(self.usual**0.5, float(sure.max()))).to(sure.dtype)

    def tensors(self) -> dict[str, Tensor]:
        return {"usual": torch.tensor(self.usual, dtype=torch.float64)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.usual = float(tensors["usual"])

    def reset(self) -> None:
        self.usual = self.filter.first
