"""Images by a quarter turn, or by several: a view of which it can be told that it is one, for `WhichView`.

Gidaris, Singh, Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator

from acclimate.players.augment import of_images

__all__ = ["TURNS", "Turned"]


@dataclass(frozen=True)
class Turned:
    """``quarters`` turns to the left, each image whole; images have to be square where the model wants them so.

    >>> Turned(2)(torch.tensor([[[[1.0, 2.0]]]]), Generator())
    tensor([[[[2., 1.]]]])
    """

    quarters: int = 1

    def __call__(self, inputs: Any, random: Generator) -> Any:
        return of_images(self, inputs, lambda x: torch.rot90(x, self.quarters, (-2, -1)))


TURNS = tuple(Turned(quarters) for quarters in range(4))
"""The four ways up, the first as it is."""
