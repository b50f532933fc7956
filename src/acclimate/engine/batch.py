"""What a batch is: a tensor, a tuple, a dict or a ``ModelOutput``, and how a model is called with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["first_tensor", "map_tensors", "move", "rows_of", "run_batch", "take"]


def run_batch(model: nn.Module, inputs: Any) -> Any:
    """Call a model with inputs alone: a mapping by name, a tuple by position, a tensor as it is."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def map_tensors(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same structure with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        mapped = {k: map_tensors(v, change) for k, v in value.items()}
        return mapped if type(value) is dict else type(value)(**mapped)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(v, change) for v in value))
    if isinstance(value, tuple | list):
        return type(value)(map_tensors(v, change) for v in value)
    return value


def first_tensor(value: Any) -> Tensor:
    """The first tensor in a structure; an error where there is none."""
    found: list[Tensor] = []
    map_tensors(value, found.append)
    if not found:
        raise TypeError(f"a batch or output must hold a tensor, this {type(value).__name__} holds none")
    return found[0]


def rows_of(value: Any) -> int:
    """The number of rows of a batch: the length of its first tensor."""
    return first_tensor(value).shape[0]


def take(value: Any, index: Tensor | slice) -> Any:
    """Some rows of everything in a batch that has as many rows as its first tensor."""
    count = rows_of(value)
    return map_tensors(value, lambda t: t[index] if t.dim() and t.shape[0] == count else t)


def move(value: Any, device: torch.device) -> Any:
    return map_tensors(value, lambda t: t.to(device))
