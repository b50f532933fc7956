"""The last answers of a stream, so that labels may come late.

Each is kept with the row's input, and with what the adapted and the frozen model said, as far as it is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acclimate.engine.batch import map_tensors, rows_of
from acclimate.loops.loop import LoopError

__all__ = ["Answered", "Recall"]


@dataclass
class Answered:
    """One batch: the number of its first row, its inputs, and classes (rows,) or None where a model did not run."""

    first: int
    inputs: Any
    adapted: Tensor | None
    frozen: Tensor | None


class Recall:
    """Answered batches, the oldest forgotten as soon as newer ones hold ``rows`` rows."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.held: deque[Answered] = deque()
        self.given = 0

    def push(self, inputs: Any, adapted: Tensor | None, frozen: Tensor | None) -> None:
        """Remember a batch; logits (rows, classes) of each model that ran."""
        own = map_tensors(inputs, lambda t: t.detach().clone())
        kinds = [None if z is None or z.dim() != 2 else z.argmax(-1) for z in (adapted, frozen)]
        self.held.append(Answered(self.given, own, *kinds))
        self.given += rows_of(inputs)
        while len(self.held) > 1 and self.given - self.held[1].first >= self.rows:
            self.held.popleft()

    def find(self, ids: Sequence[int], labels: Tensor) -> list[tuple[Answered, Tensor, Tensor]]:
        """The batches that hold these rows, with the places inside and the labels; forgotten rows are left out."""
        if len(ids) != len(labels):
            raise LoopError(f"feedback needs one label for each id, and found {len(ids)} ids and {len(labels)} labels")
        unknown = [number for number in ids if not 0 <= number < self.given]
        if unknown:
            raise LoopError(
                f"row {unknown[0]} was never answered: {self.given} rows were, numbered from 0 in the order they came"
            )
        found = []
        numbers = torch.as_tensor(list(ids))
        for batch in self.held:
            inside = (numbers >= batch.first) & (numbers < batch.first + rows_of(batch.inputs))
            if bool(inside.any()):
                found.append((batch, numbers[inside] - batch.first, labels[inside]))
        return found

    def clear(self) -> None:
        self.held.clear()
        self.given = 0
