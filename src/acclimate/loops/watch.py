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
that corrects answers by their neighbours rests on the opposite order, and is trusted where runs of a class are seen. One that is
good in any order is judged by its answers alone: whether they say more of the inputs than those of the frozen model.
"""

from __future__ import annotations

from collections.abc import Callable

from acclimate.engine import Order
from acclimate.loops import signs
from acclimate.loops.guard import Guard, Verdict
from acclimate.loops.signs import Look, Spread

__all__ = ["Watch"]

_WHOLE = 0.95  # of the classes that the frozen model sees: who sees fewer, and knows no more, becomes blind
_RUNS = 2  # so many signs of runs make an order; the forgiven do not count
_PAST = 0.8  # of what was seen, this share stays with each batch
_KEPT = 0.5  # of what earned trust, this share keeps it: a batch on the line must not undo what one before it did


class Watch:
    """A guard at work on one stream. Its memory is three pairs of means and variances, and a few numbers."""

    def __init__(self, guard: Guard, expects: Order) -> None:
        self.guard = guard
        self.expects = expects
        self.trusted = False
        self.strikes = 0
        self.told = False  # whether the runs on this probation have been reported
        self.need = guard.probation  # calm rows before trust
        self.calm = 0  # rows since the last sign of harm
        self.mixed = 0  # rows since the last sign of an order, for what is good in any
        self.since = 0  # batches since the last strike
        self.usual: float | None = None  # the adapted model's drift while calm
        self.diverse: float | None = None  # its effective classes while calm
        self.gain: float | None = None  # how much more it is informed than the frozen model, since conditions changed
        self.adapted: Spread | None = None
        self.frozen: Spread | None = None
        self.entry: Spread | None = None
        self.each: Spread | None = None

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
            "jump": 0.0,
        }
        here = signs.spread(adapted.deep)
        if self.adapted is not None:
            values["drift"] = signs.drift(here, self.adapted)
        self._enters(adapted, values)
        self.adapted = here
        self.since += 1
        memory = self.guard.audit if self.expects == "correlated" else self.guard.memory
        if self.since >= memory and self.strikes:
            self.strikes, self.since = self.strikes - 1, 0
        if self.expects == "correlated":
            return self._neighbours(values, here.rows)
        if self.expects == "any":
            return self._answers(adapted, frozen, values, before)
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
            self._settle(values, here.rows)
            return Verdict(True, values)
        if not asked:
            self.frozen = signs.spread(frozen().deep)
        self._strike(here.rows, counts=sign not in ("conditions", "narrow"))
        self.trusted = False
        return Verdict(False, values, sign, f"{why}; frozen answers until {self.need} rows were calm")

    def waits(self, rows: int) -> bool:
        """Whether a batch of so many rows cannot earn trust, whatever the adapted model makes of it."""
        return not self.trusted and (
            self.expects == "correlated" or (self.expects == "shuffled" and self.calm + rows < self.need)
        )

    def wait(self, frozen: Look) -> Verdict:
        """The verdict on such a batch, of which only the frozen model was asked."""
        values = {"order": signs.order(frozen.deep), "jump": 0.0}
        here = signs.spread(frozen.deep)
        self._enters(frozen, values)
        self.since += 1
        if self.expects == "correlated":
            if self.adapted is not None:
                values["drift"] = signs.drift(here, self.adapted)
            self.adapted = here
            return self._neighbours(values, here.rows)
        values = {"frozen order" if name == "order" else name: value for name, value in values.items()}
        if self.frozen is not None:
            values["frozen drift"] = signs.drift(here, self.frozen)
        self.frozen = here
        return self._restless(values, here.rows) or Verdict(False, values)

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
        changed = self._changed(values)
        if changed:  # which moves deep features too; neighbours in time are as little alike as before
            moved, times = self._moved({name: value for name, value in values.items() if "drift" not in name})
        if moved and changed:
            return "conditions", f"{times}, and what enters the network jumped by {values['jump']:.2f} deviations"
        if moved:
            return "order", f"{times}, while what enters the network stayed: classes come in runs"
        if "agreement" in values and not self._earned(values, _KEPT):
            seen = (
                f"{values['frozen classes']:.1f} effective classes where the adapted one sees {values['classes']:.1f}"
            )
            return "narrow", f"the frozen model sees {seen}: the batch holds few classes"
        if (self.gain or 0.0) < guard.worse / 2 and values["classes"] < _WHOLE * values.get("frozen classes", 0.0):
            return "answers", "the adapted model is informed no more than the frozen one, and sees fewer classes"
        if self._fewer(values) and values["classes"] < values["frozen classes"]:
            held = f"{values['classes']:.1f} effective classes where they held {self.diverse:.1f}"
            return "concentration", f"the predictions hold {held}: the adapted model collapses"
        if values["distance"] > guard.far:
            return "distance", f"the parameters moved by {values['distance']:.2f}, and {guard.far} is the most allowed"
        return "", ""

    def _fewer(self, values: dict[str, float]) -> bool:
        """Whether the adapted model sees far fewer classes than it did."""
        return self.diverse is not None and values["classes"] < self.guard.collapse * self.diverse

    def _enters(self, adapted: Look, values: dict[str, float]) -> None:
        """How far what enters the network lies from the batch before, and from what the network was trained on."""
        entry = signs.entry(adapted)
        if entry is None:
            return
        values["jump"] = entry.within
        if self.entry is not None and self.each is not None:
            values["jump"] = max(entry.within, signs.shift(entry.all, self.entry))
            values["entry drift"] = signs.drift(entry.each, self.each)
        if adapted.source is not None:
            values["shift"] = signs.shift(entry.all, adapted.source)
        self.entry, self.each = entry.all, entry.each

    def _changed(self, values: dict[str, float]) -> bool:
        """Whether conditions changed: what enters moved far, and it is not that classes moved what leaves much more."""
        left = values.get("frozen drift", values.get("drift", 0.0))
        return values["jump"] * values.get("entry drift", 0.0) >= self.guard.jump * left > 0

    def drifts(self, values: dict[str, float]) -> bool:
        """Whether conditions changed, as far as the frozen model's features are known."""
        known = "frozen drift" in values or ("drift" in values and self.expects == "correlated")
        return known and self._jumped(values) and self._changed(values)

    def _jumped(self, values: dict[str, float]) -> bool:
        """Whether what enters lies elsewhere than it did, by more than chance explains."""
        return values["jump"] >= self.guard.jump and values.get("entry drift", 0.0) > self.guard.drift

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
        values["gain"] = gain = values["informed"] - signs.informed(frozen.logits)
        self.gain = gain if self.gain is None or self._changed(values) else _PAST * self.gain + (1 - _PAST) * gain
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
        self._beside(adapted, frozen, values)
        restless = self._restless(values, len(adapted.deep))
        if restless is not None:
            return restless
        earned, whole = self._earned(values), values["classes"] >= self.guard.collapse * values["frozen classes"]
        if self.calm < self.need or not earned or not whole or not values["spread"] > 0:
            return Verdict(False, values)
        self.trusted, self.told, self.usual, self.diverse = True, False, None, None
        self._settle({name: value for name, value in values.items() if name != "drift"}, 0)
        return Verdict(True, values, "calm", f"{self.calm} rows were calm, and {earned}: adapted answers")

    def _restless(self, values: dict[str, float], rows: int) -> Verdict | None:
        """The verdict where the frozen model's features show an order; else the rows were calm."""
        moved, how = self._moved({name: values[name] for name in ("frozen drift", "frozen order") if name in values})
        if moved and not self._changed(values):
            self._strike(rows)
            first, self.told = not self.told, True
            return Verdict(False, values, "order" if first else "", f"{how}: classes come in runs; frozen answers")
        mixed = not self._moved({"frozen order": values["frozen order"]})[0]  # so that conditions alone changed
        self.calm = rows if moved and not mixed else self.calm + rows
        return None

    def _neighbours(self, values: dict[str, float], rows: int) -> Verdict:
        """For a method that corrects answers by their neighbours: it is right to, where they are of a kind."""
        if self._moved(values)[0] and not self._changed(values):
            self._strike(rows)
        if (self.strikes >= _RUNS) == self.trusted:
            return Verdict(self.trusted, values)
        self.trusted = not self.trusted
        if self.trusted:
            return Verdict(
                True, values, "order", "classes come in runs, so that neighbours are of a kind: adapted answers"
            )
        return Verdict(False, values, "order", "classes come mixed by now: frozen answers")

    def _answers(
        self, adapted: Look, frozen: Callable[[], Look], values: dict[str, float], before: Callable[[], Look] | None
    ) -> Verdict:
        """For a method that is good in any order: whether what it answers says more of the inputs, or classes come mixed."""
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

    def _come_mixed(self, values: dict[str, float], rows: int) -> str:
        """Why classes are believed to come mixed, and the adapted model's view of them, or nothing."""
        moved = self._moved({name: values[name] for name in ("frozen drift", "frozen order") if name in values})[0]
        self.mixed = 0 if moved and not self._changed(values) else self.mixed + rows
        whole = values["classes"] >= _WHOLE * values["frozen classes"]
        known = whole and self.mixed >= self.guard.probation
        return self._earned(values, _KEPT if self.trusted else 1.0) if known else ""

    def _settle(self, values: dict[str, float], rows: int) -> None:
        """Another calm batch: remember what is usual."""
        self.calm += rows
        if "drift" in values:
            self.usual = values["drift"] if self.usual is None else _PAST * self.usual + (1 - _PAST) * values["drift"]
        seen = values["classes"]
        self.diverse = seen if self.diverse is None else _PAST * self.diverse + (1 - _PAST) * seen

    def _strike(self, rows: int, counts: bool = True) -> None:
        """A sign of harm: each that counts makes the next probation 4 times longer."""
        self.strikes = min(8, self.strikes + counts)
        self.since = self.since if not counts else 0
        self.need = max(rows * 4**self.strikes, 0 if self.trusted or self.need != self.guard.probation else self.need)
        self.calm = 0
