"""What modules of one adapter hand to others of it while the model runs once: seen by that forward alone, gone when it ends.

The model's own call opens it and closes it, in its thread. Activations that are recomputed after that have nothing to read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from acclimate.engine.method import AdapterModule, MethodError

__all__ = ["handed", "opened"]

_HERE = threading.local()


def handed(module: AdapterModule) -> dict[str, dict[int, Any]]:
    """By topic, what modules of this adapter have handed on so far, each under its turn. To be read and written."""
    values = getattr(_HERE, "values", None)
    if values is None:
        raise MethodError(
            f"{module.method} hands on what it reads from one site to the next, and no forward of the whole model is under "
            "way here: call the model itself, without recomputing parts of it"
        )
    return values.setdefault(module.owner, {})  # type: ignore[no-any-return]


def opened(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """One forward of the whole model, from empty hands."""
    before = getattr(_HERE, "values", None)
    _HERE.values = {}
    try:
        return call(*args, **kwargs)
    finally:
        _HERE.values = before
