"""In which order rows are read: a policy turns the rows of one epoch into batches of row numbers.

    plan(rows, size, generator) -> [index of batch 0, index of batch 1, ...]

It draws from the generator it is given and from nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, dataclass_transform

import torch
from torch import Generator, Tensor

from acclimate.data.batch import DataError

__all__ = ["ClassBalanced", "InOrder", "LengthBuckets", "Policy", "RowFacts", "Shuffled"]


@dataclass(frozen=True)
class RowFacts:
    """What a policy may ask of the data: how many rows, their labels (rows,), their lengths in tokens (rows,)."""

    count: int
    labels: Callable[[], Tensor]
    lengths: Callable[[], Tensor]


@dataclass_transform(frozen_default=True)
class Policy:
    """A frozen description. A subclass is a dataclass without a decorator and writes `plan`."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True)(cls)

    def plan(self, rows: RowFacts, size: int, generator: Generator) -> list[Tensor]:
        """Row numbers, one tensor of at most ``size`` a batch."""
        raise NotImplementedError

    def drawn(self, rows: RowFacts) -> int:
        """How many rows an epoch has."""
        return rows.count

    def describe(self) -> dict[str, Any]:
        return {"policy": type(self).__name__, **dataclasses.asdict(self)}  # type: ignore[call-overload]


class InOrder(Policy):
    """The order of the data, each epoch.

    >>> InOrder().plan(RowFacts(5, ..., ...), 2, Generator())
    [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    def plan(self, rows: RowFacts, size: int, generator: Generator) -> list[Tensor]:
        return list(torch.split(torch.arange(rows.count), size))


class Shuffled(Policy):
    """Another order each epoch, every row once.

    >>> sorted(torch.cat(Shuffled().plan(RowFacts(5, ..., ...), 2, Generator())).tolist())
    [0, 1, 2, 3, 4]
    """

    def plan(self, rows: RowFacts, size: int, generator: Generator) -> list[Tensor]:
        return list(torch.split(torch.randperm(rows.count, generator=generator), size))


class LengthBuckets(Policy):
    """Batches of rows of similar length, so that little is padded; every row once.

    Rows are shuffled, sorted by length within windows of ``window`` batches, and the batches shuffled: a window of one
    batch is `Shuffled`, one window over everything pads least and repeats the same batches most.

    >>> lengths = torch.tensor([9, 1, 8, 2])
    >>> plan = LengthBuckets().plan(RowFacts(4, ..., lambda: lengths), 2, Generator())
    >>> sorted(sorted(lengths[batch].tolist()) for batch in plan)
    [[1, 2], [8, 9]]
    """

    window: int = 50

    def __post_init__(self) -> None:
        if self.window < 1:
            raise DataError(f"LengthBuckets(window={self.window}) cannot work: a window is at least 1 batch")

    def plan(self, rows: RowFacts, size: int, generator: Generator) -> list[Tensor]:
        lengths = rows.lengths()
        batches: list[Tensor] = []
        for window in torch.split(torch.randperm(rows.count, generator=generator), self.window * size):
            batches += torch.split(window[lengths[window].argsort(stable=True)], size)
        return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


class ClassBalanced(Policy):
    """Each class equally often, in every batch as nearly as its size allows.

    Every class gives ``each`` rows an epoch (None: as many as the largest class has, so that no row is left out); a
    smaller class goes round again, and each row of it comes as often as any other, give or take one.

    >>> labels = torch.tensor([0, 0, 0, 1])
    >>> rows = torch.cat(ClassBalanced().plan(RowFacts(4, lambda: labels, ...), 2, Generator()))
    >>> labels[rows].bincount()
    tensor([3, 3])
    """

    each: int | None = None

    def __post_init__(self) -> None:
        if self.each is not None and self.each < 1:
            raise DataError(f"ClassBalanced(each={self.each}) cannot work: a class gives at least 1 row")

    def _classes(self, rows: RowFacts) -> list[Tensor]:
        labels = rows.labels()
        if labels.dim() != 1 or labels.is_floating_point():
            raise DataError(
                f"ClassBalanced needs one class a row, and the labels are {labels.dtype} of shape {tuple(labels.shape)}"
            )
        return [(labels == value).nonzero().flatten() for value in torch.unique(labels)]

    def drawn(self, rows: RowFacts) -> int:
        classes = self._classes(rows)
        return len(classes) * (self.each or max(map(len, classes)))

    def plan(self, rows: RowFacts, size: int, generator: Generator) -> list[Tensor]:
        classes = self._classes(rows)
        each = self.each or max(map(len, classes))
        drawn = torch.stack([_rounds(members, each, generator) for members in classes], 1)  # (each, classes)
        order = torch.rand(drawn.shape, generator=generator).argsort(1)
        return list(torch.split(drawn.gather(1, order).flatten(), size))


def _rounds(members: Tensor, count: int, generator: Generator) -> Tensor:
    """``count`` members in shuffled rounds, nobody a second time before everybody had a turn."""
    rounds = -(-count // len(members))
    return torch.cat([members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)])[:count]
