"""Whatever a user has, as `Batches`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from acclimate.data.batch import Batch, DataError, beside, choose
from acclimate.data.batches import Batches
from acclimate.data.given import Given
from acclimate.data.labels import as_tensor
from acclimate.data.policy import InOrder, Policy, Shuffled
from acclimate.data.rows import Columns, Items, Rows

__all__ = ["as_batches"]

Collate = Callable[[Any], Any]


def as_batches(
    data: Any,
    takes: Mapping[str, Any] | None = None,
    *,
    size: int | None = None,
    seed: int | None = None,
    policy: Policy | None = None,
    collate: Collate | None = None,
    classes: Sequence[str] | None = None,
    once: bool = False,
) -> Batches:
    """`Batches` of whatever there is.

    A tensor, an array or a list of texts is inputs alone; a tuple is (inputs, labels); a dict (or a table of the
    ``datasets`` library) is columns; a ``Dataset``, or a list of rows, holds (x, y) or dicts. A list of batches stays
    as it is, and so does a ``DataLoader`` whose sampler is its own; the order of an ordinary one is drawn anew from
    (seed, epoch). Batches are tuples, dicts with ``labels``, or ``ModelOutput``. ``takes`` says which column is what:
    ``{"labels": "topic", "inputs": "text"}``, or the model's own names of arguments; columns of single numbers lie side
    by side. A generator is accepted where it is read only ``once``.

    >>> [batch.labels.tolist() for batch in as_batches({"text": ["a", "b"], "topic": ["y", "x"]}, {"labels": "topic"})]
    [[1, 0]]
    """
    given = {"size": size, "seed": seed, "policy": policy, "collate": collate}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if isinstance(data, Batches):
        return data.replace(**settings) if settings else data
    if isinstance(data, DataLoader):
        usual = _usual(data)
        if usual is not None:
            rows = Items(data.dataset, takes, data.collate_fn, data.num_workers, classes)
            return Batches(rows, **{"size": data.batch_size, "policy": usual, "drop_last": data.drop_last, **settings})
    else:
        found = _rows(data, takes, collate, classes)
        if found is not None:
            return Batches(found, **settings)
    if size is not None or policy is not None:
        raise DataError("these batches are made already: size and policy cannot change them, so give the rows instead")
    if isinstance(data, str) or not isinstance(data, Iterable):
        raise DataError(f"a {type(data).__name__} is no data: give (inputs, labels), columns, a Dataset or batches")
    return Given(data, takes, collate=collate, classes=classes, seed=seed or 0, once=once)


def _rows(
    data: Any, takes: Mapping[str, Any] | None, collate: Collate | None, classes: Sequence[str] | None
) -> Rows | None:
    """The rows of data that is not in batches yet."""
    if hasattr(data, "column_names"):
        data = {name: list(data[name]) for name in data.column_names}
    if isinstance(data, Mapping):
        return _columns(dict(data), takes, collate, classes)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return Items(data, takes, classes=classes)
    if isinstance(data, list) and data and _is_row(data[0]):
        return Items(data, takes, classes=classes)  # type: ignore[arg-type]
    texts = isinstance(data, list) and bool(data) and isinstance(data[0], str | int | float)
    if not (texts or isinstance(data, Tensor | np.ndarray | tuple)):
        return None
    if takes:
        raise DataError(f"takes names columns, and a {type(data).__name__} has none: give a dict, or leave takes out")
    if not isinstance(data, tuple):
        return Columns(data, None, classes)
    if not 1 <= len(data) <= 2:
        raise DataError(
            f"a tuple of {len(data)} is no data: give (inputs, labels), with inputs as a dict if there are several"
        )
    return Columns(data[0], data[1] if len(data) == 2 else None, classes)


def _columns(
    columns: dict[str, Any], takes: Mapping[str, Any] | None, collate: Collate | None, classes: Sequence[str] | None
) -> Columns:
    splits = [name for name, value in columns.items() if hasattr(value, "column_names")]
    if splits:
        raise DataError(f"this holds whole tables ({', '.join(splits)}): give one of them")
    numbers = {name: as_tensor(value) if not _lazy(value) else None for name, value in columns.items()}
    tensors = {name: columns[name] if found is None else found for name, found in numbers.items()}
    inputs, labels = choose(tensors, takes)
    open_ended = isinstance(inputs, dict) and not set(takes or {}) - {"labels"}
    if open_ended and len(inputs) == 1:
        inputs = next(iter(inputs.values()))
    elif open_ended and all(isinstance(value, Tensor) and value.dim() == 1 for value in inputs.values()):
        inputs = beside(inputs)
    elif open_ended and collate is None and not all(isinstance(value, Tensor) for value in inputs.values()):
        names = ", ".join(map(repr, inputs))
        raise DataError(f'several columns could be the input ({names}): takes={{"inputs": ...}} says which')
    return Columns(inputs, labels, classes)


def _lazy(values: Any) -> bool:
    """A column that makes its rows as they are asked for must not be read to see what it is."""
    return not isinstance(values, list | tuple | np.ndarray | Tensor)


def _is_row(value: Any) -> bool:
    """One row of data, as against one batch: its label, or everything in a dict, is a single thing."""
    if isinstance(value, Batch | Tensor | np.ndarray | str | int | float):
        return False
    if isinstance(value, Mapping):
        return all(_single(each) for each in value.values())
    return isinstance(value, tuple) and len(value) > 1 and _single(value[-1])


def _single(value: Any) -> bool:
    return isinstance(value, str | int | float | np.generic) or (isinstance(value, Tensor) and not value.dim())


def _usual(loader: DataLoader[Any]) -> Policy | None:
    """The policy of a loader that does what loaders do unless told otherwise."""
    if type(loader.batch_sampler) is not BatchSampler or loader.batch_size is None:
        return None
    if type(loader.sampler) is SequentialSampler:
        return InOrder()
    if type(loader.sampler) is RandomSampler:
        sampler = loader.sampler
        if not sampler.replacement and sampler.num_samples == len(sampler.data_source):  # type: ignore[arg-type]
            return Shuffled()
    return None
