"""Which adapters a forward uses, for this thread alone: nothing on the model changes, so forwards may run at once.

`only` names the adapters for a whole batch, `rows.rows` one for each row. Both are context variables, and `ACTIVE`
counts how many are open anywhere, so that a forward outside of them pays one integer comparison.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.engine.batch import map_tensors

if TYPE_CHECKING:
    from acclimate.engine.registry import Entry, Registry

__all__ = ["chosen", "remembered", "row_plan", "selecting", "with_rows"]

ACTIVE = 0
_SELECTED: ContextVar[dict[int, tuple[Any, ...]] | None] = ContextVar("acclimate_selected", default=None)
_ROWS: ContextVar[dict[int, Any] | None] = ContextVar("acclimate_rows", default=None)
_BACKWARD: dict[tuple[int, int], tuple[Any, Any]] = {}
"""What a forward chose, by registry and backward pass: checkpointing runs it again after its context has closed."""


def chosen(registry: Registry) -> tuple[Entry, ...]:
    """The adapters that act in this forward, in their order."""
    if ACTIVE:
        _refuse_compiled()
        selected = (_SELECTED.get() or {}).get(id(registry))
        if selected is None:
            selected = _again(registry)[1]
        if selected is not None:
            return selected
    return registry.active


def row_plan(registry: Registry) -> Any | None:
    """The plan that gives each row its adapter, where one is open in this thread."""
    if not ACTIVE:
        return None
    _refuse_compiled()
    plans = _ROWS.get() or {}
    return plans[id(registry)] if id(registry) in plans else _again(registry)[0]


def _again(registry: Registry) -> tuple[Any, Any]:
    return _BACKWARD.get((id(registry), torch._C._current_graph_task_id()), (None, None))


def remembered(registry: Registry, plan: Any, entries: Any, y: Any) -> Any:
    """Let a backward pass through ``y`` recompute with what this forward chose."""
    if torch.is_grad_enabled():

        def arriving(gradient: Tensor) -> None:
            global ACTIVE
            place = (id(registry), torch._C._current_graph_task_id())
            if place not in _BACKWARD:
                ACTIVE += 1
                torch.autograd.Variable._execution_engine.queue_callback(lambda: _leave(place))  # type: ignore[attr-defined]
            _BACKWARD[place] = (plan, entries)

        def watch(tensor: Tensor) -> None:
            if tensor.requires_grad:
                tensor.register_hook(arriving)  # type: ignore[no-untyped-call]

        map_tensors(y, watch)
    return y


def _leave(place: tuple[int, int]) -> None:
    global ACTIVE
    del _BACKWARD[place]
    ACTIVE -= 1


def _refuse_compiled() -> None:
    if torch.compiler.is_compiling():
        raise RuntimeError(
            "a compiled graph holds the adapters it was traced with, so acc.rows and acc.only cannot choose others: "
            "call the model itself, not its compiled form, inside them"
        )


@contextmanager
def _set(variable: ContextVar[Any], registry: Registry, value: Any) -> Iterator[None]:
    global ACTIVE
    token = variable.set({**(variable.get() or {}), id(registry): value})
    ACTIVE += 1
    try:
        yield
    finally:
        ACTIVE -= 1
        variable.reset(token)


@contextmanager
def selecting(registry: Registry, entries: tuple[Entry, ...]) -> Iterator[None]:
    """Use these adapters alone, whatever is enabled, and no plan of rows."""
    with _set(_ROWS, registry, None), _set(_SELECTED, registry, entries):
        yield


@contextmanager
def with_rows(registry: Registry, plan: Any) -> Iterator[None]:
    """Give each row of the batch its own adapter."""
    with _set(_ROWS, registry, plan):
        yield
