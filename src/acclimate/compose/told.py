"""One child a task, and the caller says which task a row is of.

    y + a_t(y) - y        t from `with given(task=t)`, for all rows or one for each

Beside an adapter that all tasks have, ``Parallel(LoRA(), Told(LoRA(), LoRA()))``, this is multi-task adaptation with shared
and own parts. Agiza, Neseem, Reda, "MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning", 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.compose.node import Mixed
from acclimate.compose.tree import Composition
from acclimate.engine import MethodError
from acclimate.methods.given import said

__all__ = ["Told"]


class Told(Composition, init=False):
    """The child of the task that is said. ``otherwise`` is the task where nothing is said; None refuses.

    >>> Told("depth", "edges")
    Told(depth, edges)
    """

    otherwise: int | None = None

    @property
    def usual(self) -> int | None:
        """The task of a row of which nothing is said."""
        return 0 if self.otherwise is None and len(self.children) == 1 else self.otherwise

    def __post_init__(self) -> None:
        if self.otherwise is not None and not 0 <= self.otherwise < len(self.children):
            raise MethodError(f"otherwise={self.otherwise} is no task: they are 0 to {len(self.children) - 1}")

    class Module(Mixed):
        method: Told
        steady = False

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            method = self.method
            task = method.usual if said("task") is None else said("task")
            if task is None:
                raise MethodError(f"{method} has to know the task: call the model inside `with given(task=...)`")
            tasks = torch.as_tensor(task, device=y.device)
            if tasks.dim() and tasks.shape != y.shape[:1]:
                raise MethodError(
                    f"tasks of shape {tuple(tasks.shape)} are said of {len(y)} rows: give one number for each"
                )
            own = torch.arange(self.count, device=y.device)
            return (tasks.expand(y.shape[:1])[:, None] == own).float()
