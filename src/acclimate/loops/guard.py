"""Whether an adapted model may answer, decided without labels: it starts on probation, and can lose what it won.

    probation --- calm for long enough, and either mixed classes or changed conditions --> trusted
    trusted   --- a sign of harm --> back to the last good state, and probation that is 4 times longer each time

Adapting by batches rests on their classes being mixed. A batch of one class looks to batch statistics like changed
conditions; they make it look like all classes, and every prediction stays confident and diverse. What tells the two
apart is time. Changed conditions move what enters the network once, and then stay; classes that come sorted move the
deep features again and again and leave what enters the network almost where it was. A batch that the frozen model
takes for few classes is believed to hold few, unless what enters the network has left what it was trained on and the
adapted model makes far more of the batch.

The second forward, of the frozen model, is run on probation, on suspicion, and as long as trust is young. A method
that corrects answers by their neighbours rests on the opposite order, and is trusted where runs of a class are seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from acclimate.loops import signs
from acclimate.loops.loop import LoopError
from acclimate.loops.signs import Look, Spread

__all__ = ["Guard", "Verdict", "Watch"]

_KEPT = 0.8  # of what earned trust, this share keeps it: a batch on the line must not undo what one before it did


@dataclass(frozen=True)
class Guard:
    """When to trust. ``probation`` counts rows; ``drift`` and ``order`` are ratios to chance (see `signs`).

    ``shift`` is how far the first norm's statistics must lie from the source's, and ``jump`` from the batch before's,
    to count as changed conditions. ``narrow``: the frozen model sees few classes where its effective number is below
    this share of the adapted model's; then the adapted one must be ``informed`` to this share, and by ``gain`` more
    than the frozen one. ``collapse``: the least share of the classes it had, or that the frozen model has, that the
    adapted model must keep. ``agreement``: the share of equal answers above which there is nothing to lose. ``far``:
    the most that parameters may move (root mean square). Every ``audit`` batches the frozen model is asked again.
    ``memory`` batches without a strike forgive one.

    >>> Guard(probation=100).drift
    4.0
    """

    probation: int = 200
    drift: float = 4.0
    order: float = 5.0
    shift: float = 0.25
    jump: float = 0.15
    narrow: float = 0.6
    informed: float = 0.6
    gain: float = 0.25
    collapse: float = 0.5
    agreement: float = 0.9
    far: float = 0.5
    audit: int = 8
    memory: int = 64

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0 or not math.isfinite(value):
                raise LoopError(f"Guard({name}={value}) cannot work: {name} must be finite and above 0")


@dataclass(frozen=True)
class Verdict:
    """Whether the adapted model may answer; ``sign`` and ``why`` are given where that has changed."""

    trusted: bool
    values: dict[str, float]
    sign: str = ""
    why: str = ""


class Watch:
    """A guard at work on one stream. Its memory is three pairs of means and variances, and a few numbers."""

    def __init__(self, guard: Guard, expects: Literal["shuffled", "correlated"]) -> None:
        self.guard = guard
        self.expects = expects
        self.trusted = False
        self.strikes = 0
        self.told = False  # whether the runs on this probation have been reported
        self.need = guard.probation  # calm rows before trust
        self.calm = 0  # rows since the last sign of harm
        self.since = 0  # batches since the last strike
        self.usual: float | None = None  # the adapted model's drift while calm
        self.diverse: float | None = None  # its effective classes while calm
        self.adapted: Spread | None = None
        self.frozen: Spread | None = None
        self.entry: Spread | None = None

    def judge(
        self, adapted: Look, frozen: Callable[[], Look], far: float, before: Callable[[], Look] | None = None
    ) -> Verdict:
        """The verdict on one batch, before it is answered.

        ``frozen`` runs the frozen model on it, and ``before`` on the batch before it, where that is still there;
        ``far`` is how far the parameters have moved.
        """
        values = {
            "classes": signs.classes(adapted.logits),
            "confidence": signs.confidence(adapted.logits),
            "informed": signs.informed(adapted.logits),
            "distance": far,
            "order": signs.order(adapted.deep),
            "jump": adapted.within,
        }
        here = signs.spread(adapted.deep)
        if self.adapted is not None:
            values["drift"] = signs.drift(here, self.adapted)
        if adapted.entry is not None and self.entry is not None:
            values["jump"] = max(adapted.within, signs.shift(adapted.entry, self.entry))
        if adapted.entry is not None and adapted.source is not None:
            values["shift"] = signs.shift(adapted.entry, adapted.source)
        self.adapted, self.entry = here, adapted.entry
        self.since += 1
        if self.since >= self.guard.memory and self.strikes:
            self.strikes, self.since = self.strikes - 1, 0
        if self.expects == "correlated":
            return self._neighbours(values, here.rows)
        if not self.trusted:
            return self._probation(adapted, frozen(), values)
        young = self.calm < self.need + self.guard.probation
        suspect = self._moved(values)[0]
        asked = young or suspect or self.since % self.guard.audit == 0
        if asked:
            if not young:
                self.frozen = signs.spread(before().deep) if suspect and before is not None else None
            self._beside(adapted, frozen(), values)
        sign, why = self._harm(values)
        if not sign:
            self._settle(values, here.rows)
            return Verdict(True, values)
        if not asked:
            self.frozen = signs.spread(frozen().deep)
        self._strike(here.rows, counts=sign not in ("conditions", "narrow"))
        self.trusted = False
        return Verdict(False, values, sign, f"{why}; frozen answers until {self.need} rows were calm")

    def lose(self, rows: int) -> None:
        """Back on probation for a reason from outside: labels, or numbers that are not finite."""
        self._strike(rows)
        self.trusted = False

    def win(self) -> None:
        """Trusted for a reason from outside."""
        self.trusted, self.strikes, self.usual, self.diverse = True, 0, None, None

    def _harm(self, values: dict[str, float]) -> tuple[str, str]:
        """The sign of harm on a trusted model, and what it says."""
        guard = self.guard
        moved, times = self._moved(values)
        if moved and values["jump"] >= guard.jump:
            return (
                "conditions",
                f"what enters the network jumped by {values['jump']:.2f} deviations: conditions changed",
            )
        if moved:
            return "order", f"{times}, while what enters the network stayed: classes come in runs"
        if "agreement" in values and not self._earned(values, _KEPT):
            seen = (
                f"{values['frozen classes']:.1f} effective classes where the adapted one sees {values['classes']:.1f}"
            )
            return "narrow", f"the frozen model sees {seen}: the batch holds few classes"
        if self.diverse is not None and values["classes"] < guard.collapse * self.diverse:
            held = f"{values['classes']:.1f} effective classes where they held {self.diverse:.1f}"
            return "concentration", f"the predictions hold {held}: the adapted model collapses"
        if values["distance"] > guard.far:
            return "distance", f"the parameters moved by {values['distance']:.2f}, and {guard.far} is the most allowed"
        return "", ""

    def _moved(self, values: dict[str, float]) -> tuple[bool, str]:
        """Whether deep features moved by more than chance, or neighbours are too much alike.

        The adapted model's features also move because it learns; where the frozen model's are known, they decide.
        """
        guard = self.guard
        usual = min(1.0, max(1 / guard.drift, self.usual or 1.0))
        for whose, name, limit in (
            ("adapted", "drift", guard.drift * usual),
            ("frozen", "frozen drift", guard.drift),
            ("adapted", "order", guard.order),
            ("frozen", "frozen order", guard.order),
        ):
            value = values.get(name, 0.0)
            learned = name == "drift" and "frozen drift" in values
            if value > limit and not learned:
                what = f"drifted by {value:.1f}" if "drift" in name else f"lie in an order of {value:.1f} deviations"
                return (
                    True,
                    f"the {whose} model's deep features {what}, and {limit:.1f} is the most that chance explains",
                )
        return False, ""

    def _beside(self, adapted: Look, frozen: Look, values: dict[str, float]) -> None:
        """What the frozen model says, whose features no normalising by the batch has flattened."""
        here = signs.spread(frozen.deep)
        values["frozen order"] = signs.order(frozen.deep)
        if self.frozen is not None:
            values["frozen drift"] = signs.drift(here, self.frozen)
        self.frozen = here
        values["agreement"] = float((adapted.logits.argmax(-1) == frozen.logits.argmax(-1)).float().mean())
        values["frozen classes"] = signs.classes(frozen.logits)
        values["gain"] = values["informed"] - signs.informed(frozen.logits)
        values["spread"] = float(here.var.mean())

    def _earned(self, values: dict[str, float], share: float = 1.0) -> str:
        """Why the adapted model's view of a batch is believed, or nothing; ``share`` of what is asked is enough."""
        guard = self.guard
        theirs, ours = values["frozen classes"], values["classes"]
        if values["agreement"] >= guard.agreement or theirs >= share * guard.narrow * ours:
            return f"the adapted model sees {ours:.1f} effective classes and the frozen one {theirs:.1f}"
        lies, informed, gain = values.get("shift", 0.0), values["informed"], values["gain"]
        if lies >= guard.shift and informed >= share * guard.informed and gain >= share * guard.gain:
            known = f"the adapted model is informed to {informed:.2f}, {gain:.2f} more than the frozen one"
            return f"conditions lie {lies:.2f} deviations from those it was trained on, and {known}"
        return ""

    def _probation(self, adapted: Look, frozen: Look, values: dict[str, float]) -> Verdict:
        guard, rows = self.guard, len(adapted.deep)
        self._beside(adapted, frozen, values)
        restless, how = self._moved({name: values[name] for name in ("frozen drift", "frozen order") if name in values})
        if restless and values["jump"] < guard.jump:
            self._strike(rows)
            first, self.told = not self.told, True
            return Verdict(False, values, "order" if first else "", f"{how}: classes come in runs; frozen answers")
        self.calm = rows if restless else self.calm + rows
        earned, whole = self._earned(values), values["classes"] >= guard.collapse * values["frozen classes"]
        if self.calm < self.need or not earned or not whole or not values["spread"] > 0:
            return Verdict(False, values)
        self.trusted, self.told, self.usual, self.diverse = True, False, None, None
        self._settle({name: value for name, value in values.items() if name != "drift"}, 0)
        return Verdict(True, values, "calm", f"{self.calm} rows were calm, and {earned}: adapted answers")

    def _neighbours(self, values: dict[str, float], rows: int) -> Verdict:
        """For a method that corrects answers by their neighbours: it is right to, where they are of a kind."""
        guard = self.guard
        if self._moved(values)[0] and values["jump"] < guard.jump:
            self._strike(rows)
        self.calm += rows
        familiar = values.get("shift", math.inf) < guard.shift and (self.trusted or self.calm >= guard.probation)
        if (self.strikes > 0 or familiar) == self.trusted:
            return Verdict(self.trusted, values)
        self.trusted = not self.trusted
        if self.trusted:
            how = "classes come in runs" if self.strikes else "conditions are those the model was trained on"
            return Verdict(True, values, "calm", f"{how}, so that neighbours are of a kind: adapted answers")
        return Verdict(False, values, "conditions", "conditions changed and classes come mixed: frozen answers")

    def _settle(self, values: dict[str, float], rows: int) -> None:
        """Another calm batch: remember what is usual."""
        self.calm += rows
        if "drift" in values:
            self.usual = values["drift"] if self.usual is None else 0.8 * self.usual + 0.2 * values["drift"]
        seen = values["classes"]
        self.diverse = seen if self.diverse is None else 0.8 * self.diverse + 0.2 * seen

    def _strike(self, rows: int, counts: bool = True) -> None:
        """A sign of harm: each that counts makes the next probation 4 times longer."""
        self.strikes = min(8, self.strikes + counts)
        self.since = self.since if not counts else 0
        self.need = max(rows * 4**self.strikes, 0 if self.trusted or self.need != self.guard.probation else self.need)
        self.calm = 0
