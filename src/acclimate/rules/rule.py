"""How a loss, with or without its gradient, becomes an update.

A rule is a frozen description; ``begin`` makes the state of one run, which steps, saves and restores itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, dataclass_transform

from torch import Tensor, nn

__all__ = ["Rule", "RuleState"]

Named = Sequence[tuple[str, nn.Parameter, float]]
"""What is trained: (role, parameter, the learning rate its method wants)."""


class RuleState:
    """A rule at work on given parameters."""

    def step(self, closure: Callable[[], Tensor]) -> float:
        """One update. ``closure`` computes the loss anew each time it is called; the value before is returned."""
        raise NotImplementedError

    def tensors(self) -> dict[str, Tensor]:
        """All state as tensors by name, to be restored to the bit."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `tensors` gave."""


@dataclass_transform(frozen_default=True)
class Rule:
    """A frozen description. A subclass is a dataclass without a decorator."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True)(cls)

    def begin(self, named: Named, steps: int, seed: int = 0) -> RuleState:
        """The state of a run of ``steps`` updates on these parameters."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {"rule": type(self).__name__, **dataclasses.asdict(self)}  # type: ignore[call-overload]
