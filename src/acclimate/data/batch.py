"""One batch: what the model takes, the labels beside it, and which rows of the data these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acclimate.engine.batch import move, rows_of

__all__ = ["Batch", "DataError", "split"]

LABELS = ("labels", "label")
"""Under which names labels are looked for when nobody says."""


class DataError(ValueError):
    """Data is not what it has to be: empty, missing a column, readable only once."""


@dataclass(frozen=True, eq=False)
class Batch:
    """``inputs`` is a tensor, a dict or tuple of tensors, or a list of texts; ``labels`` (rows, ...) or None.

    ``index`` (rows,) numbers the rows within the data, and is None where batches come from a place that hides it.

    >>> len(Batch(torch.zeros(3, 2), torch.tensor([0, 1, 0])))
    3
    """

    inputs: Any
    labels: Tensor | None = None
    index: Tensor | None = None

    def __len__(self) -> int:
        for known in (self.index, self.labels):
            if known is not None:
                return len(known)
        return len(self.inputs) if texts(self.inputs) else rows_of(self.inputs)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on a device."""
        there = torch.device(device)
        return Batch(move(self.inputs, there), move(self.labels, there), move(self.index, there))


def texts(inputs: Any) -> bool:
    """Whether these are several texts, as against several tensors."""
    return isinstance(inputs, tuple | list) and bool(inputs) and isinstance(inputs[0], str)


def split(made: Any, takes: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """What somebody else's batch holds, as (inputs, labels).

    A mapping (a ``ModelOutput`` too) gives its ``labels``; a tuple's last member is the labels when it has more than
    one; a tensor is inputs alone. ``takes`` says otherwise by name, for mappings.

    >>> split({"x": torch.ones(1), "label": torch.zeros(1)})
    ({'x': tensor([1.])}, tensor([0.]))
    """
    if isinstance(made, Batch):
        return made.inputs, made.labels
    if isinstance(made, Mapping):
        return choose(dict(made), takes)
    if isinstance(made, tuple | list) and not texts(made):
        if not made:
            raise DataError("a batch is an empty tuple: give (inputs, labels)")
        *inputs, last = made
        if not inputs:
            return last, None
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), last
    return made, None


def choose(columns: dict[str, Any], takes: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
    """Named columns as (inputs, labels). ``takes`` is {what it is for: the column's name}.

    ``takes["labels"]`` names the labels (or says None: there are none), ``takes["inputs"]`` the one column that is the
    input itself, or a list of columns to lay side by side; any other key is the model's own word for an argument.
    What ``takes`` leaves open: labels are in ``labels`` or ``label``, and the rest are arguments by their names.

    >>> choose({"a": 1, "b": 2, "y": 3}, {"labels": "y", "weight": "b"})
    ({'weight': 2}, 3)
    """
    takes = dict(takes or {})
    wanted = [name for value in takes.values() for name in ([value] if isinstance(value, str) else value or [])]
    for name in wanted:
        if name not in columns:
            there = ", ".join(map(repr, columns)) or "none"
            raise DataError(f"there is no column {name!r}: those there are {there}; takes={{...}} says which is what")
    if "labels" in takes:
        label = takes.pop("labels")
    else:
        label = next((name for name in LABELS if name in columns and name not in wanted), None)
    labels = None if label is None else columns[label]
    if "inputs" in takes:
        name = takes.pop("inputs")
        if takes:
            raise DataError(
                f"takes names the input as a whole and {next(iter(takes))!r} beside it: give one or the other"
            )
        return (columns[name] if isinstance(name, str) else beside({key: columns[key] for key in name})), labels
    if takes:
        return {argument: columns[name] for argument, name in takes.items()}, labels
    rest = {name: value for name, value in columns.items() if name != label}
    if not rest:
        raise DataError(f"there is no column beside the labels {label!r}: the model needs something to read")
    return (rest["inputs"] if set(rest) == {"inputs"} else rest), labels


def beside(columns: Mapping[str, Any]) -> Tensor:
    """Columns of numbers, (rows,) each, as (rows, columns)."""
    wrong = [name for name, value in columns.items() if not isinstance(value, Tensor) or value.dim() != 1]
    if wrong or not columns:
        raise DataError(f"only columns of numbers can lie side by side, and {wrong[:1] or 'none'} is not one")
    return torch.stack([value.to(torch.get_default_dtype()) for value in columns.values()], 1)
