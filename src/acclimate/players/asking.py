"""What a model says of inputs, quietly: in evaluation mode, without gradients, and nothing of it changes.

Other values are lent to modules and taken back by identity, each module once. ``torch.func.functional_call`` goes by
path, and where one module has two paths (tied weights, a module used twice) it leaves its loan in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine.batch import run_batch
from acclimate.losses import logits_of

__all__ = ["answer", "held_by", "lending", "quiet"]


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; every module's mode is what it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def lending(model: nn.Module, values: Mapping[Tensor, Tensor]) -> Iterator[None]:
    """Inside, modules hold ``values`` in the place of the tensors that are its keys. Nothing is written into either."""
    held: list[tuple[Any, str, Tensor]] = []
    for module in model.modules():
        for store in (module._parameters, module._buffers):
            held += [(store, name, tensor) for name, tensor in store.items() if tensor is not None and tensor in values]
    try:
        for store, name, tensor in held:
            store[name] = values[tensor]
        yield
    finally:
        for store, name, tensor in held:
            store[name] = tensor


def answer(model: nn.Module, inputs: Any, values: Mapping[Tensor, Tensor] | None = None) -> Tensor:
    """The logits of the model with other ``values`` for some of its parameters.

    Buffers are lent as copies, so that what a forward writes into them is forgotten.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> answer(model, torch.ones(1, 1), {model.weight: torch.full((1, 1), 3.0)})
    tensor([[3.]])
    """
    copies: dict[Tensor, Tensor] = {buffer: buffer.clone() for buffer in model.buffers()}
    with quiet(model), lending(model, {**copies, **(values or {})}):
        return logits_of(run_batch(model, inputs))


def held_by(model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> list[nn.Parameter]:
    """The parameters, each once; refused where one is none of the model's, as lending it would do nothing."""
    inside = set(model.parameters())
    for name, parameter in named:
        if parameter not in inside:
            raise ValueError(f"{name} is no parameter of this {type(model).__name__}: give the model that is trained")
    return list(dict.fromkeys(parameter for _, parameter in named))
