"""Where rows lie: in memory by column, or in a torch ``Dataset``. Both give the rows of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from acclimate.data.batch import DataError, split, texts
from acclimate.data.labels import as_labels, as_tensor

__all__ = ["Columns", "Items", "Rows"]


class Rows:
    """``count`` rows, some of which can be had at a time."""

    count: int
    classes: tuple[str, ...] | None = None

    def read(self, plan: Sequence[Tensor], generator: Generator) -> Iterator[tuple[Any, Tensor | None]]:
        """(inputs, labels) for each index in turn."""
        raise NotImplementedError

    def labels(self) -> Tensor | None:
        """The labels of every row."""
        raise NotImplementedError


class Columns(Rows):
    """In memory: ``inputs`` is a tensor (rows, ...), a dict of columns, or any sequence of rows."""

    def __init__(self, inputs: Any, labels: Any = None, classes: Sequence[str] | None = None) -> None:
        self.inputs = {k: _column(v) for k, v in inputs.items()} if isinstance(inputs, Mapping) else _column(inputs)
        self._labels, self.classes = as_labels(labels, classes)
        columns = dict(self.inputs) if isinstance(self.inputs, dict) else {"inputs": self.inputs}
        if self._labels is not None:
            columns["labels"] = self._labels
        sizes = {name: len(column) for name, column in columns.items()}
        if not sizes or not all(sizes.values()):
            raise DataError("the data is empty: it has no row")
        if len(set(sizes.values())) > 1:
            raise DataError(f"columns differ in length: {', '.join(f'{name} has {n}' for name, n in sizes.items())}")
        self.count = next(iter(sizes.values()))

    def read(self, plan: Sequence[Tensor], generator: Generator) -> Iterator[tuple[Any, Tensor | None]]:
        for index in plan:
            yield self.inputs_at(index), None if self._labels is None else self._labels[index]

    def inputs_at(self, index: Tensor) -> Any:
        if isinstance(self.inputs, dict):
            return {name: _rows(column, index) for name, column in self.inputs.items()}
        return _rows(self.inputs, index)

    def labels(self) -> Tensor | None:
        return self._labels


def _column(values: Any) -> Any:
    """A tensor where the rows are numbers; what it was where they are something else."""
    if isinstance(values, str) or not hasattr(values, "__len__") or not hasattr(values, "__getitem__"):
        raise DataError(f"a column must hold one value a row, and a {type(values).__name__} does not")
    if len(values) and isinstance(values[0], str | Tensor) and not isinstance(values, Tensor):
        return values
    found = as_tensor(values)
    if found is not None and not found.dim():
        raise DataError("a column must hold one value a row, and a single number does not")
    return values if found is None else found


def _rows(column: Any, index: Tensor) -> Any:
    if isinstance(column, Tensor):
        return column[index]
    found = [column[i] for i in index.tolist()]
    if isinstance(found[0], Tensor):
        shapes = {tuple(each.shape) for each in found}
        if len(shapes) > 1:
            raise DataError(f"rows of shapes {sorted(shapes)[0]} and {sorted(shapes)[1]} make no batch: give collate=")
        return torch.stack(found)
    return found


class Items(Rows):
    """A torch ``Dataset``: read as it is asked for, in ``workers`` processes beside this one."""

    def __init__(
        self,
        dataset: Dataset[Any],
        takes: Mapping[str, Any] | None = None,
        join: Callable[[list[Any]], Any] | None = None,
        workers: int = 0,
        classes: Sequence[str] | None = None,
    ) -> None:
        if not hasattr(dataset, "__len__"):
            raise DataError(
                f"{type(dataset).__name__} does not know its length: give a Dataset with __len__, or batches"
            )
        self.dataset, self.takes, self.join, self.workers = dataset, takes, join or default_collate, workers
        self.count = len(dataset)
        if not self.count:
            raise DataError("the data is empty: it has no row")
        self.classes = None if classes is None else tuple(classes)
        self._known: Tensor | None = None
        first = self._of(self.join([dataset[0]]))[1]
        if self.classes is None and first is not None and as_tensor(first) is None:
            self._known, self.classes = as_labels(self._every())

    def _of(self, made: Any) -> tuple[Any, Any]:
        inputs, labels = split(made, self.takes)
        if isinstance(inputs, dict) and len(inputs) == 1 and texts(next(iter(inputs.values()))):
            inputs = next(iter(inputs.values()))
        return list(inputs) if texts(inputs) else inputs, labels

    def _every(self) -> list[Any]:
        return [label for i in range(self.count) for label in self._of(self.join([self.dataset[i]]))[1]]

    def read(self, plan: Sequence[Tensor], generator: Generator) -> Iterator[tuple[Any, Tensor | None]]:
        loader = DataLoader(
            self.dataset,
            batch_sampler=[index.tolist() for index in plan],
            collate_fn=self.join,
            num_workers=self.workers,
            generator=generator,
        )
        for made in loader:
            inputs, labels = self._of(made)
            yield inputs, as_labels(labels, self.classes)[0]

    def labels(self) -> Tensor | None:
        if self._known is None and self._of(self.join([self.dataset[0]]))[1] is not None:
            self._known = as_labels(self._every(), self.classes)[0]
        return self._known
