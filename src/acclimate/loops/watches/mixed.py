"""When a method that needs batches of mixed classes may answer: it starts on probation, and can lose what it won.

    probation --- calm for long enough, and either mixed classes or changed conditions --> trusted
    trusted   --- a sign of harm --> back to the last good state, and probation

Adapting by batches rests on their classes being mixed. A batch of one class looks to batch statistics like changed
conditions; they make it look like all classes, and every prediction stays confident and diverse. What tells the two
apart is time. A batch that the frozen model takes for few classes is believed to hold few, unless what enters the network has
left what it was trained on and the adapted model makes far more of the batch.

The second forward, of the frozen model, is run on suspicion, and as long as trust is young; on probation it is the only one until
another batch could earn trust. Where batch after batch does not, the adapted model is asked ever more seldom, until conditions
change.
"""

from __future__ import annotations

from acclimate.loops import signs
from acclimate.loops.guard import Verdict
from acclimate.loops.signs import Look
from acclimate.loops.watches.watch import KEPT, PAST, WHOLE, Frozen, Values, Watch

__all__ = ["MixedWatch"]


_OFTEN = 4  # so many times a batch that does not earn trust makes the pause before the next one longer


class MixedWatch(Watch):
    """For batch statistics, and whatever learns from batches."""

    def judge(self, adapted: Look, frozen: Frozen, far: float, before: Frozen | None = None) -> Verdict:
        values, rows = self._see(adapted, far), len(adapted.deep)
        if not self.trusted:
            return self._probation(adapted, frozen(), values)
        young = self.calm < self.need + self.guard.probation
        suspect = self._moved(values)[0] or self._jumped(values)
        asked = young or suspect or self._fewer(values) or self.since % self.guard.audit == 0
        if asked:
            if not young:
                self.frozen = signs.spread(before().deep) if suspect and before is not None else None
            self._beside(adapted, frozen(), values)
        sign, why = self._harm(values)
        if not sign:
            self._settle(values, rows)
            return Verdict(True, values)
        if not asked:
            self.frozen = signs.spread(frozen().deep)
        self._strike(rows, counts=sign not in ("conditions", "narrow"))
        self.trusted = False
        return Verdict(False, values, sign, f"{why}; frozen answers until {self.need} rows were calm")

    def waits(self, rows: int) -> bool:
        return not self.trusted and (self.rest > 0 or self.calm + rows < self.need)

    def wait(self, frozen: Look) -> Verdict:
        values: Values = {"jump": 0.0}
        self._enters(frozen, values)
        self._forgive(self.guard.memory)
        self._see_frozen(frozen, values)
        self.rest = max(0, self.rest - 1)
        if self.drifts(values):
            self.failed = self.rest = 0
        return self._restless(values, len(frozen.deep)) or Verdict(False, values)

    def _probation(self, adapted: Look, frozen: Look, values: Values) -> Verdict:
        self._beside(adapted, frozen, values)
        restless = self._restless(values, len(adapted.deep))
        if restless is not None:
            return restless
        earned, whole = self._earned(values), values["classes"] >= self.guard.collapse * values["frozen classes"]
        if self.calm < self.need:
            return Verdict(False, values)
        if not earned or not whole or not values["spread"] > 0:
            self.failed += 1
            self.rest = min(self.guard.audit, self.failed // _OFTEN)
            return Verdict(False, values)
        self.trusted, self.told, self.usual, self.diverse, self.failed = True, False, None, None, 0
        self._settle({name: value for name, value in values.items() if name != "drift"}, 0)
        return Verdict(True, values, "calm", f"{self.calm} rows were calm, and {earned}: adapted answers")

    def _restless(self, values: Values, rows: int) -> Verdict | None:
        """The verdict where the frozen model's features show an order; else the rows were calm."""
        how = self._in_runs(values)
        if how:
            self._strike(rows)
            first, self.told = not self.told, True
            return Verdict(False, values, "order" if first else "", f"{how}: classes come in runs; frozen answers")
        alike = self._moved({"frozen order": values["frozen order"]})[0]  # not by changed conditions alone
        self.calm = rows if alike else self.calm + rows
        return None

    def _harm(self, values: Values) -> tuple[str, str]:
        """The sign of harm on a trusted model, and what it says."""
        guard = self.guard
        moved, times = self._moved(values)
        changed = self._changed(values)
        if changed:  # which moves deep features too; neighbours in time are as little alike as before
            moved, times = self._moved({name: value for name, value in values.items() if "drift" not in name})
        if moved and changed:
            return "conditions", f"{times}, and what enters the network jumped by {values['jump']:.2f} deviations"
        if moved:
            return "order", f"{times}, while what enters the network stayed: classes come in runs"
        if "agreement" in values and not self._earned(values, KEPT):
            seen = (
                f"{values['frozen classes']:.1f} effective classes where the adapted one sees {values['classes']:.1f}"
            )
            return "narrow", f"the frozen model sees {seen}: the batch holds few classes"
        if (self.gain or 0.0) < guard.worse / 2 and values["classes"] < WHOLE * values.get("frozen classes", 0.0):
            return "answers", "the adapted model is informed no more than the frozen one, and sees fewer classes"
        if self._fewer(values) and values["classes"] < values["frozen classes"]:
            held = f"{values['classes']:.1f} effective classes where they held {self.diverse:.1f}"
            return "concentration", f"the predictions hold {held}: the adapted model collapses"
        if values["distance"] > guard.far:
            return "distance", f"the parameters moved by {values['distance']:.2f}, and {guard.far} is the most allowed"
        return "", ""

    def _fewer(self, values: Values) -> bool:
        """Whether the adapted model sees far fewer classes than it did."""
        return self.diverse is not None and values["classes"] < self.guard.collapse * self.diverse

    def _settle(self, values: Values, rows: int) -> None:
        """Another calm batch: remember what is usual."""
        self.calm += rows
        if "drift" in values:
            self.usual = values["drift"] if self.usual is None else PAST * self.usual + (1 - PAST) * values["drift"]
        seen = values["classes"]
        self.diverse = seen if self.diverse is None else PAST * self.diverse + (1 - PAST) * seen
