"""When a method that is good in any order may answer: where its answers say more of the inputs than the frozen model's.

Or where classes come mixed, and the adapted model is believed as one is that needs them to. That features drift is held against
nobody here; the frozen model is asked on probation, on suspicion, as long as trust is young, and now and then.
"""

from __future__ import annotations

from acclimate.loops import signs
from acclimate.loops.guard import Verdict
from acclimate.loops.signs import Look
from acclimate.loops.watches.watch import KEPT, WHOLE, Frozen, Values, Watch

__all__ = ["AnyOrderWatch"]


class AnyOrderWatch(Watch):
    """For statistics that are gathered over batches, and memories in which classes are balanced."""

    def judge(self, adapted: Look, frozen: Frozen, far: float, before: Frozen | None = None) -> Verdict:
        values = self._see(adapted, far)
        guard, trusted, rows = self.guard, self.trusted, len(adapted.deep)
        young = self.calm < self.need + guard.probation
        suspect = self._jumped(values) or values["informed"] < guard.explains
        if trusted and not (young or suspect or self.since % guard.audit == 0):
            self.calm += rows
            return Verdict(True, values)
        if trusted and not young:
            self.frozen = signs.spread(before().deep) if self._jumped(values) and before is not None else None
        self._beside(adapted, frozen(), values)
        informed, gain, mixed = values["informed"], values["gain"], self._come_mixed(values, rows)
        says = mixed or f"the adapted model is informed to {informed:.2f}, the frozen one to {informed - gain:.2f}"
        alike = trusted and values["agreement"] >= guard.agreement
        if values["distance"] > guard.far:
            self._strike(rows)
            says = f"the parameters moved by {values['distance']:.2f}, and {guard.far} is the most allowed"
        elif trusted:
            harmed = informed < guard.least or (self.gain or 0.0) < -guard.worse
            self.calm = 0 if harmed and not (alike or mixed) else self.calm + rows
        else:
            better = informed >= guard.explains and min(gain, self.gain or 0.0) > 0
            self.calm = self.calm + rows if better or mixed else 0
        need = self.need if self.strikes else min(self.need, 2 * rows)
        self.trusted = self.calm > 0 if trusted else self.calm >= need
        if self.trusted == trusted:
            return Verdict(trusted, values)
        if trusted:
            return Verdict(False, values, "answers", f"{says}; frozen answers until {need} rows were better")
        return Verdict(True, values, "calm", f"for {self.calm} rows {says}: adapted answers")

    def _come_mixed(self, values: Values, rows: int) -> str:
        """Why classes are believed to come mixed, and the adapted model's view of them, or nothing."""
        self.mixed = 0 if self._in_runs(values) else self.mixed + rows
        whole = values["classes"] >= WHOLE * values["frozen classes"]
        known = whole and self.mixed >= self.guard.probation
        return self._earned(values, KEPT if self.trusted else 1.0) if known else ""
