"""Labels as a tensor: numbers stay what they are, names become class numbers and are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acclimate.data.batch import DataError

__all__ = ["as_labels", "as_tensor", "class_ids"]


def as_tensor(values: Any) -> Tensor | None:
    """Numbers as a tensor, None for anything else. Floats from outside torch take torch's default precision.

    >>> as_tensor(np.zeros(2)).dtype
    torch.float32
    """
    if isinstance(values, Tensor):
        return values
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "biuf":
            return None
    else:
        try:
            values = np.asarray(values)
        except ValueError:  # ragged
            return None
        if values.dtype.kind not in "biuf":
            return None
    found = torch.from_numpy(np.ascontiguousarray(values))
    return found.to(torch.get_default_dtype()) if found.is_floating_point() else found


def class_ids(names: Sequence[str], classes: Sequence[str] | None = None) -> tuple[Tensor, tuple[str, ...]]:
    """Names as class numbers (rows,), and the classes: sorted, unless they are given, as those of the training data.

    >>> class_ids(["b", "a", "b"])
    (tensor([1, 0, 1]), ('a', 'b'))
    """
    known = tuple(sorted(set(names))) if classes is None else tuple(classes)
    number = {name: i for i, name in enumerate(known)}
    strange = sorted(set(names) - set(known))
    if strange:
        raise DataError(f"{strange[0]!r} is no class here: the classes are {', '.join(map(repr, known))}")
    return torch.tensor([number[name] for name in names]), known


def as_labels(values: Any, classes: Sequence[str] | None = None) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Labels as a tensor, and the names of the classes where the labels had names.

    >>> as_labels([True, False])
    (tensor([1, 0]), None)
    """
    given = None if classes is None else tuple(classes)
    if values is None:
        return None, given
    found = as_tensor(values)
    if found is not None:
        if given is not None and not found.is_floating_point() and found.numel() and int(found.max()) >= len(given):
            raise DataError(f"a label is {int(found.max())}, and there are {len(given)} classes, numbered from 0")
        if found.is_floating_point() or found.dtype == torch.int64:
            return found, given
        return found.long(), given
    names = [value.item() if isinstance(value, np.generic) else value for value in values]
    if not all(isinstance(name, str) for name in names):
        wrong = next(i for i, name in enumerate(names) if not isinstance(name, str))
        raise DataError(f"label {wrong} is {names[wrong]!r}: labels are all numbers or all names, one a row")
    return class_ids(names, given)
