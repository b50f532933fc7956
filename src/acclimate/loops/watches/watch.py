"""What a guard remembers of a stream, and what it sees in a batch: features, answers, and what enters the network.

Changed conditions move what enters the network once, and then stay; classes that come in runs move the deep features again and
again and leave what enters the network almost where it was. A strike is a sign of harm: each makes the next probation 4 times
longer, and time forgives it.
"""

from __future__ import annotations

from collections.abc import Callable

from acclimate.loops import signs
from acclimate.loops.guard import Guard, Verdict
from acclimate.loops.signs import Look, Spread

__all__ = ["KEPT", "PAST", "WHOLE", "Frozen", "Values", "Watch"]

WHOLE = 0.95  # of the classes that the frozen model sees: who sees fewer, and knows no more, becomes blind
PAST = 0.8  # of what was seen, this share stays with each batch
KEPT = 0.5  # of what earned trust, this share keeps it: a batch on the line must not undo what one before it did

Values = dict[str, float]
Frozen = Callable[[], Look]


class Watch:
    """A guard at work on one stream; a subclass says when to trust. Its memory is four means and variances, and a few numbers."""

    def __init__(self, guard: Guard) -> None:
        self.guard = guard
        self.trusted = False
        self.strikes = 0
        self.told = False  # whether the runs on this probation have been reported
        self.need = guard.probation  # calm rows before trust
        self.calm = 0  # rows since the last sign of harm
        self.mixed = 0  # rows since the last sign of an order, for what is good in any
        self.since = 0  # batches since the last strike
        self.failed = 0  # times that calm rows did not earn trust
        self.rest = 0  # batches until the adapted model is asked again
        self.usual: float | None = None  # the adapted model's drift while calm
        self.diverse: float | None = None  # its effective classes while calm
        self.gain: float | None = None  # how much more it is informed than the frozen model, since conditions changed
        self.adapted: Spread | None = None
        self.frozen: Spread | None = None
        self.entry: Spread | None = None
        self.each: Spread | None = None

    def judge(self, adapted: Look, frozen: Frozen, far: float, before: Frozen | None = None) -> Verdict:
        """The verdict on one batch, before it is answered.

        ``frozen`` runs the frozen model on it, and ``before`` on the batch before it, where that is still there;
        ``far`` is how far the parameters have moved.
        """
        raise NotImplementedError

    def waits(self, rows: int) -> bool:
        """Whether a batch of so many rows cannot earn trust, whatever the adapted model makes of it."""
        return False

    def wait(self, frozen: Look) -> Verdict:
        """The verdict on such a batch, of which only the frozen model was asked."""
        raise NotImplementedError

    def lose(self, rows: int) -> None:
        """Back on probation for a reason from outside: labels, or numbers that are not finite."""
        self._strike(rows)
        self.trusted = False

    def win(self) -> None:
        """Trusted for a reason from outside."""
        self.trusted, self.strikes, self.usual, self.diverse = True, 0, None, None

    def drifts(self, values: Values) -> bool:
        """Whether conditions changed, as far as the frozen model's features are known."""
        return "frozen drift" in values and self._jumped(values) and self._changed(values)

    def _see(self, adapted: Look, far: float) -> Values:
        """What one forward of the adapted model shows."""
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
        self.adapted = here
        self._enters(adapted, values)
        self._forgive(self.guard.memory)
        return values

    def _see_frozen(self, frozen: Look, values: Values) -> None:
        """What one forward of the frozen model shows, whose features no normalising by the batch has flattened."""
        here = signs.spread(frozen.deep)
        values["frozen order"] = signs.order(frozen.deep)
        if self.frozen is not None:
            values["frozen drift"] = signs.drift(here, self.frozen)
        self.frozen = here
        values["spread"] = float(here.var.mean())

    def _beside(self, adapted: Look, frozen: Look, values: Values) -> None:
        """What the frozen model shows, and how both models' answers differ."""
        self._see_frozen(frozen, values)
        values["agreement"] = float((adapted.logits.argmax(-1) == frozen.logits.argmax(-1)).float().mean())
        values["frozen classes"] = signs.classes(frozen.logits)
        values["gain"] = gain = values["informed"] - signs.informed(frozen.logits)
        self.gain = gain if self.gain is None or self.drifts(values) else PAST * self.gain + (1 - PAST) * gain

    def _enters(self, adapted: Look, values: Values) -> None:
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

    def _changed(self, values: Values) -> bool:
        """Whether conditions changed: what enters moved far, and it is not that classes moved what leaves much more."""
        left = values.get("frozen drift", values.get("drift", 0.0))
        return values["jump"] * values.get("entry drift", 0.0) >= self.guard.jump * left > 0

    def _jumped(self, values: Values) -> bool:
        """Whether what enters lies elsewhere than it did, by more than chance explains."""
        return values["jump"] >= self.guard.jump and values.get("entry drift", 0.0) > self.guard.drift

    def _moved(self, values: Values) -> tuple[bool, str]:
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

    def _earned(self, values: Values, share: float = 1.0) -> str:
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

    def _in_runs(self, values: Values) -> str:
        """What of the frozen model's features says that classes come in runs, or nothing: changed conditions move them as well."""
        moved, how = self._moved({name: values[name] for name in ("frozen drift", "frozen order") if name in values})
        return how if moved and not self._changed(values) else ""

    def _forgive(self, memory: int) -> None:
        """Another batch: a strike is forgiven after so many without one."""
        self.since += 1
        if self.since >= memory and self.strikes:
            self.strikes, self.since = self.strikes - 1, 0

    def _strike(self, rows: int, counts: bool = True) -> None:
        """A sign of harm: each that counts makes the next probation 4 times longer."""
        self.strikes = min(8, self.strikes + counts)
        self.since = self.since if not counts else 0
        self.need = max(rows * 4**self.strikes, 0 if self.trusted or self.need != self.guard.probation else self.need)
        self.calm = 0
