"""A teacher says what it makes of the inputs that the model sees."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from acclimate.losses import Seen
from acclimate.players.player import Player, PlayerState

__all__ = ["Teacher", "TeacherState"]


class TeacherState(PlayerState):
    """A teacher at work. A subclass writes `answer`."""

    def answer(self, inputs: Any) -> Tensor:
        """Logits (rows, classes) without a gradient, in evaluation mode."""
        raise NotImplementedError

    def look(self, seen: Seen) -> None:
        seen.teacher = self.answer(seen.inputs)


class Teacher(Player):
    """A player that gives ``seen.teacher``. Its state is a `TeacherState`."""

    gives: ClassVar[frozenset[str]] = frozenset({"teacher"})
