"""What adapts on a stream: a method at its sites, and with it a loss, a rule and players, or none of them.

Tent   {BatchStatistics: all, Affine: norm}   Entropy       Gradient
LAME   {LAME: head}                           -             -
CoTTA  {Full: all, BatchStatistics: all}      Consistency   Gradient    EMATeacher, StochasticRestore
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from acclimate.engine import Method, Order
from acclimate.loops.loop import LoopError
from acclimate.losses import Loss
from acclimate.players import Player
from acclimate.rules import Rule
from acclimate.sites import At

__all__ = ["Adaptation"]


@dataclass(frozen=True)
class Adaptation:
    """The parts of a method that works on a stream, as one frozen value.

    ``steps`` updates are made on each batch, on the rows that the players give weight. Where labels come late, ``taught`` teaches
    the rows that they are for (and what the method puts into the model may ``observe`` them).
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
    taught: Loss | None = None
    answer: Literal["before", "after", "teacher"] = "before"

    def __post_init__(self) -> None:
        if not self.method:
            raise LoopError("an adaptation of no method adapts nothing: give at least one as {method: at}")
        untaught = self.loss is None and self.taught is None
        if untaught != (self.rule is None):
            there, missing = ("rule", "loss") if untaught else ("loss", "rule")
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
        self._has(self.loss, given)
        self._has(self.taught, given | {"labels"})

    def _has(self, loss: Loss | None, given: frozenset[str]) -> None:
        wanted = loss.wants() if loss is not None else frozenset()
        known = given | {"start", "modules", "index"}
        lacking = sorted(n for n in wanted - known if not n.startswith("features:"))
        if lacking:
            raise LoopError(
                f"{loss} needs {', '.join(lacking)}, which a stream of inputs alone does not have: give "
                "another loss, or a player that provides it"
            )

    @property
    def expects(self) -> Order:
        """The order it was made for: who learns from batches, or pools statistics over one, needs batches of mixed classes.

        Who learns from a memory in which classes are balanced does not.
        """
        found = {method.expects for method in self.method}
        if self.loss is not None and not any(player.remembers for player in self.players):
            found.add("shuffled")
        return "shuffled" if "shuffled" in found else "correlated" if "correlated" in found else "any"
