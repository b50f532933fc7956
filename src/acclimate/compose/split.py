"""Spans of the tokens, each to an adapter of its own.

y_t + a_i(y)_t - y_t        for the tokens t of the i-th span
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.compose.node import Mixed
from acclimate.compose.tree import Composition
from acclimate.engine import MethodError

__all__ = ["Split"]


class Split(Composition, init=False):
    """``at`` are the tokens at which the second and later children begin.

    >>> Split("prompt", "answer", begin=[16])
    Split(prompt, answer, begin=(16,))
    """

    begin: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.begin) != len(self.children) - 1 or list(self.begin) != sorted(set(self.begin)):
            raise MethodError(
                f"begin={self.begin} does not split tokens between {len(self.children)} adapters: "
                "give where the second and later ones begin, in order"
            )

    class Module(Mixed):
        method: Split
        steady = False

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            if x.dim() < 2 or (x.dim() == 2 and x.is_floating_point()):
                raise MethodError(
                    f"{self.method} splits tokens, and {tuple(x.shape)} has none: (rows, tokens, channels)"
                )
            whose = torch.bucketize(
                torch.arange(x.shape[1], device=y.device), torch.tensor(self.method.begin, device=y.device), right=True
            )
            picked = torch.nn.functional.one_hot(whose, len(self.method.children))  # (tokens, children)
            return picked.to(y.dtype).expand(y.shape[0], -1, -1)
