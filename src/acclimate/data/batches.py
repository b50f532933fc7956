"""Data as batches that can be read again: the order of epoch e depends on (seed, e) alone.

    order(e) = policy.plan(rows, size, generator(seed, e))

So a run that stopped goes on by skipping: nothing about the epochs before has to be replayed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from acclimate.data.batch import Batch, DataError
from acclimate.data.policy import InOrder, Policy, RowFacts, Shuffled
from acclimate.data.rows import Columns, Items, Rows
from acclimate.engine.batch import rows_of

__all__ = ["Batches", "generator"]

_SHUFFLED = Shuffled()
_MEASURED = 256


def generator(*seeds: int) -> Generator:
    """A generator whose stream depends on all of the numbers and on their order.

    >>> torch.rand(1, generator=generator(0, 1)) == torch.rand(1, generator=generator(1, 0))
    tensor([False])
    """
    if min(seeds) < 0:
        raise DataError(f"seeds and epochs are counted from 0, and {min(seeds)} is below")
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]
    return Generator().manual_seed(int(mixed) >> 1)


class Batches:
    """Rows in batches of ``size``, read as often as wanted.

    ``inputs`` is a tensor (rows, ...), a dict of them, a sequence of texts, or a torch ``Dataset`` (then its items hold
    the labels). ``collate`` makes of some rows what the model takes: a tokenizer for a list of texts. ``labels`` may be
    names: then ``classes`` keeps them, and data to be compared with is given the same ``classes``. ``lengths`` (rows,)
    is for `LengthBuckets`; without it rows are measured by what ``collate`` leaves unmasked. The last batch is smaller
    where ``size`` does not divide the rows; ``drop_last`` leaves it out of epochs. ``workers`` read a ``Dataset``.

    Iterating over it reads every row once in the data's order, for evaluation; ``epoch(e)`` and ``len`` follow the
    policy.

    >>> batches = Batches(torch.arange(6.0), torch.arange(6), size=4)
    >>> [batch.index.tolist() for batch in batches]
    [[0, 1, 2, 3], [4, 5]]
    >>> first, again = ([b.index.tolist() for b in batches.epoch(3)] for _ in range(2))
    >>> first == again, first == [b.index.tolist() for b in batches.epoch(4)], len(batches)
    (True, False, 2)
    """

    def __init__(
        self,
        inputs: Any,
        labels: Any = None,
        size: int = 32,
        seed: int = 0,
        policy: Policy = _SHUFFLED,
        *,
        collate: Callable[[Any], Any] | None = None,
        classes: Sequence[str] | None = None,
        lengths: Sequence[int] | Tensor | None = None,
        drop_last: bool = False,
        workers: int = 0,
    ) -> None:
        if size < 1:
            raise DataError(f"a batch of size {size} cannot be: give size=1 or more")
        if isinstance(inputs, Rows):
            self.rows = inputs
        elif isinstance(inputs, Dataset):
            if labels is not None:
                raise DataError(
                    "the items of a Dataset hold the labels: give labels=None, or columns in the Dataset's place"
                )
            self.rows = Items(inputs, workers=workers, classes=classes)
        else:
            self.rows = Columns(inputs, labels, classes)
        self.size, self.seed, self.policy, self.collate, self.drop_last = size, seed, policy, collate, drop_last
        self._given = None if lengths is None else torch.as_tensor(lengths)
        if self._given is not None and len(self._given) != self.rows.count:
            raise DataError(f"there are {len(self._given)} lengths for {self.rows.count} rows: give one a row")
        self._facts = RowFacts(self.rows.count, self.labels, functools.cache(self._lengths))

    @property
    def count(self) -> int:
        """How many rows the data has."""
        return self.rows.count

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes, None where labels are numbers."""
        return self.rows.classes

    def labels(self) -> Tensor:
        """The labels of every row, (rows, ...); an error where there are none."""
        found = self.rows.labels()
        if found is None:
            raise DataError(
                f"{self.policy} needs labels, and the data has none: give (inputs, labels), or name the column"
            )
        return found

    def __len__(self) -> int:
        drawn = self.policy.drawn(self._facts)
        return drawn // self.size if self.drop_last else -(-drawn // self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self._read(InOrder().plan(self._facts, self.size, Generator()), generator(self.seed))

    def plan(self, epoch: int) -> list[Tensor]:
        """The row numbers of each batch of an epoch."""
        plan = self.policy.plan(self._facts, self.size, generator(self.seed, epoch))
        return [index for index in plan if len(index) == self.size] if self.drop_last else plan

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch ``start`` on; those before it are not read."""
        return self._read(self.plan(epoch)[start:], generator(self.seed, epoch, start))

    def replace(self, **changes: Any) -> Batches:
        """The same rows with other settings: ``size``, ``seed``, ``policy``, ``collate`` or ``drop_last``.

        >>> len(Batches(torch.zeros(6, 1)).replace(size=2))
        3
        """
        settings = {name: getattr(self, name) for name in ("size", "seed", "policy", "collate", "drop_last")}
        unknown = sorted(set(changes) - set(settings))
        if unknown:
            raise DataError(
                f"{unknown[0]!r} cannot be changed on batches that are made: only {', '.join(settings)} can"
            )
        return Batches(self.rows, lengths=self._given, **{**settings, **changes})

    def _read(self, plan: list[Tensor], drawn: Generator) -> Iterator[Batch]:
        for index, (inputs, labels) in zip(plan, self.rows.read(plan, drawn), strict=True):
            yield Batch(inputs if self.collate is None else self.collate(inputs), labels, index)

    def _lengths(self) -> Tensor:
        if self._given is not None:
            return self._given
        found = []
        for batch in self._read(list(torch.split(torch.arange(self.count), _MEASURED)), generator(self.seed)):
            found += _measure(batch.inputs)
        return torch.tensor(found)


def _measure(inputs: Any) -> list[int]:
    """The lengths of a batch's rows: what is unmasked, else the texts' or lists' own."""
    if isinstance(inputs, dict) and "attention_mask" in inputs:
        return [int(n) for n in inputs["attention_mask"].sum(-1)]
    if isinstance(inputs, list):
        return [len(row) for row in inputs]
    raise DataError(
        f"the lengths of {rows_of(inputs)} rows cannot be seen, without an attention_mask: give lengths=, one a row"
    )
