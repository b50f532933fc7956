"""What adapts on a stream: a method at its sites, and with it a loss, a rule and players, or none of them.

Tent   {BatchStatistics: all, Affine: norm}   Entropy       Gradient
LAME   {LAME: head}                           -             -
CoTTA  {Full: all, BatchStatistics: all}      Consistency   Gradient    EMATeacher, StochasticRestore
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from acclimate.engine import Method
from acclimate.loops.loop import LoopError
from acclimate.losses import Loss, Seen
from acclimate.methods import BatchStatistics, RunningStatistics
from acclimate.players import Player
from acclimate.rules import Rule
from acclimate.sites import At

__all__ = ["Adaptation"]


@dataclass(frozen=True)
class Adaptation:
    """The parts of a method that works on a stream, as one frozen value.

    ``steps`` updates are made on each batch, on the rows for which ``filter(seen)``, shape (rows,), is true.
    ``answer`` says which prediction is given: the one that was learned from (``before``), a second one with the
    update (``after``), or what the teacher among the players said (``teacher``).

    >>> from acclimate.methods import LAME
    >>> Adaptation({LAME(): "head"}).expects
    'correlated'
    """

    method: Mapping[Method, At]
    loss: Loss | None = None
    rule: Rule | None = None
    players: tuple[Player, ...] = ()
    steps: int = 1
    filter: Callable[[Seen], Tensor] | None = None
    answer: Literal["before", "after", "teacher"] = "before"

    def __post_init__(self) -> None:
        if not self.method:
            raise LoopError("an adaptation of no method adapts nothing: give at least one as {method: at}")
        if (self.loss is None) != (self.rule is None):
            there, missing = ("rule", "loss") if self.loss is None else ("loss", "rule")
            raise LoopError(f"an adaptation with a {there} and no {missing} cannot learn: give both, or neither")
        if self.steps < 1:
            raise LoopError(f"steps={self.steps} cannot work: at least one update is made on each batch")
        if getattr(self.rule, "schedule", "constant") != "constant" or getattr(self.rule, "warmup", 0):
            raise LoopError(
                f"a stream has no end to plan for: give {type(self.rule).__name__} schedule='constant', warmup=0"
            )
        given: frozenset[str] = frozenset().union(*(player.gives for player in self.players))
        if self.answer == "teacher" and "teacher" not in given:
            raise LoopError("answer='teacher' needs a teacher among the players, and there is none")
        wanted = self.loss.wants() if self.loss is not None else frozenset()
        lacking = sorted(n for n in wanted - given - {"start", "modules"} if not n.startswith("features:"))
        if lacking:
            raise LoopError(
                f"{self.loss} needs {', '.join(lacking)}, which a stream of inputs alone does not have: give "
                "another loss, or a player that provides it"
            )

    @property
    def expects(self) -> Literal["shuffled", "correlated"]:
        """The order it was made for: who learns, or pools statistics over a batch, needs batches of mixed classes."""
        pools = any(isinstance(method, BatchStatistics | RunningStatistics) for method in self.method)
        return "shuffled" if pools or self.loss is not None else "correlated"
