"""Batches that somebody else made: a list of them, a ``DataLoader`` of a kind of its own, any re-iterable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import torch
from torch import Tensor

from acclimate.data.batch import Batch, DataError, split
from acclimate.data.batches import Batches, generator
from acclimate.data.labels import as_labels, as_tensor
from acclimate.data.policy import InOrder

__all__ = ["Given"]


class Given(Batches):
    """Somebody else's batches in their own order, which no policy changes.

    Rows are numbered through a list; anything else may come in another order each time, so there ``index`` is None.
    What its sampler draws when an epoch starts depends on (seed, epoch), if it draws from torch. A generator has to be
    allowed by ``once`` and is read a single time.

    >>> [batch.index.tolist() for batch in Given([(torch.zeros(2, 1), torch.tensor([0, 1])), (torch.zeros(1, 1), [1])])]
    [[0, 1], [2]]
    """

    def __init__(
        self,
        made: Iterable[Any],
        takes: Mapping[str, Any] | None = None,
        *,
        collate: Callable[[Any], Any] | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        once: bool = False,
    ) -> None:
        self.made, self.takes, self.collate, self.seed, self.policy = made, takes, collate, seed, InOrder()
        self._names = None if classes is None else tuple(classes)
        self._length: int | None = None
        self._numbered = isinstance(made, list)
        self._used = False
        self._single = isinstance(made, Iterator)
        if self._single and not once:
            raise DataError(
                f"a {type(made).__name__} can be read only once, and here the data is read again: pass a list, or an "
                "object whose __iter__ starts anew"
            )
        if self._numbered and not made:
            raise DataError("the data is empty: it has no batch")

    @property
    def count(self) -> int:
        return sum(len(batch) for batch in self)

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self._names

    def labels(self) -> Tensor:
        found = [batch.labels for batch in self if batch.labels is not None]
        if not found:
            raise DataError(
                "labels are needed, and the batches hold none: a batch is (inputs, labels), or names 'labels'"
            )
        return torch.cat(found)

    def __len__(self) -> int:
        if self._length is None:
            if self._single:
                raise TypeError(f"how many batches a {type(self.made).__name__} has shows only when it has been read")
            self._length = len(self.made) if isinstance(self.made, Sized) else sum(1 for _ in self)
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        if self._used and self._single:
            raise DataError(f"this {type(self.made).__name__} was read already, and can be read only once")
        self._used = True
        rows = 0
        for number, made in enumerate(self._begun(epoch)):
            batch = self._batch(made, rows, number)
            rows += len(batch)
            if number >= start:
                yield batch
        if not rows:
            raise DataError("the data is empty: it gave no batch")

    def _begun(self, epoch: int) -> Iterator[Any]:
        """Start reading with torch's random state made of (seed, epoch), and leave that state as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self.seed, epoch).initial_seed())
            begun = iter(self.made)
            first = next(begun, self)
        if first is not self:
            yield first
            yield from begun

    def _batch(self, made: Any, rows: int, number: int) -> Batch:
        inputs, labels = split(made, self.takes)
        if labels is not None and as_tensor(labels) is None and self._names is None:
            raise DataError(
                f"the labels of batch {number} are names: give classes=, so that each batch numbers them alike"
            )
        found = Batch(inputs, as_labels(labels, self._names)[0])
        index = torch.arange(rows, rows + len(found)) if self._numbered else None
        return Batch(inputs if self.collate is None else self.collate(inputs), found.labels, index)

    def plan(self, epoch: int) -> list[Tensor]:
        raise DataError("these batches were made by somebody else: which rows they hold is not known")

    def replace(self, **changes: Any) -> Batches:
        raise DataError(f"these batches were made by somebody else: {', '.join(changes)} cannot be changed")
