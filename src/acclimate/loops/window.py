"""The last inputs of a stream, so that a single sample is seen among neighbours.

batch + window  ->  the last ``size`` rows, the batch's own at the end
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acclimate.engine.batch import map_tensors, rows_of, take
from acclimate.loops.loop import LoopError

__all__ = ["Window", "join"]


class Window:
    """A bounded buffer of inputs: never more than ``size`` rows, whatever has passed.

    >>> window = Window(3)
    >>> for number in range(5):
    ...     window.push(torch.tensor([number]))
    >>> window.inputs
    tensor([2, 3, 4])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.inputs: Any = None

    def __len__(self) -> int:
        return 0 if self.inputs is None else rows_of(self.inputs)

    @property
    def full(self) -> bool:
        return len(self) == self.size

    def push(self, inputs: Any) -> None:
        """Take the rows of a batch in; the oldest leave. Copies, so that a large batch is not kept alive by its end."""
        count = rows_of(inputs)
        newest = take(inputs, slice(max(0, count - self.size), count))
        if self.inputs is not None and count < self.size:
            older = take(self.inputs, slice(max(0, len(self) + count - self.size), len(self)))
            newest = join(older, newest)
        self.inputs = map_tensors(newest, lambda t: t.detach().clone())

    def renew(self, inputs: Any) -> None:
        """Take in a batch that may be of another shape than those before, which are forgotten if it is."""
        try:
            self.push(inputs)
        except LoopError:
            self.clear()
            self.push(inputs)

    def clear(self) -> None:
        self.inputs = None


def join(first: Any, second: Any) -> Any:
    """The rows of two batches of one structure, one after the other; what is not a row of anything is the second's.

    >>> join({"x": torch.zeros(2, 1)}, {"x": torch.ones(1, 1)})["x"].flatten()
    tensor([0., 0., 1.])
    """
    one: list[Tensor] = []
    two: list[Tensor] = []
    map_tensors(first, one.append)
    map_tensors(second, two.append)
    rows = rows_of(first), rows_of(second)
    if len(one) != len(two):
        raise LoopError(f"the inputs changed in kind: {len(one)} tensors a batch before, and now {len(two)}")
    pairs = iter(zip(one, two, strict=True))

    def both(_: Tensor) -> Tensor:
        a, b = next(pairs)
        if not (a.dim() and b.dim() and (a.shape[0], b.shape[0]) == rows):
            return b
        if a.shape[1:] != b.shape[1:]:
            raise LoopError(
                f"the inputs changed in shape from {tuple(a.shape[1:])} to {tuple(b.shape[1:])} a row, and a window "
                "holds rows of one shape: pad them alike, or pass window=0"
            )
        return torch.cat([a, b])

    joined: Any = map_tensors(second, both)
    return joined
