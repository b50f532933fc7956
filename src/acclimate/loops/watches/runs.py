"""When a method that corrects answers by their neighbours may answer: where neighbours are of a kind, in runs of a class.

Two signs of runs earn it trust, and it loses that when they are forgiven. It leaves features as they are, so that the frozen model
shows all that is asked, and runs alone until the adapted one is trusted.
"""

from __future__ import annotations

from acclimate.loops.guard import Verdict
from acclimate.loops.signs import Look
from acclimate.loops.watches.watch import Frozen, Values, Watch

__all__ = ["RunsWatch"]

_RUNS = 2  # so many signs of runs make an order; the forgiven do not count


class RunsWatch(Watch):
    """For LAME, and memories of errors."""

    def judge(self, adapted: Look, frozen: Frozen, far: float, before: Frozen | None = None) -> Verdict:
        return self.wait(adapted)

    def waits(self, rows: int) -> bool:
        return not self.trusted

    def wait(self, frozen: Look) -> Verdict:
        values: Values = {"jump": 0.0}
        self._enters(frozen, values)
        self._forgive(self.guard.audit)
        self._see_frozen(frozen, values)
        if self._in_runs(values):
            self._strike(len(frozen.deep))
        if (self.strikes >= _RUNS) == self.trusted:
            return Verdict(self.trusted, values)
        self.trusted = not self.trusted
        how = "in runs, so that neighbours are of a kind: adapted" if self.trusted else "mixed by now: frozen"
        return Verdict(self.trusted, values, "order", f"classes come {how} answers")
