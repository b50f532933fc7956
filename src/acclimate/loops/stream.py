"""Answer, then adapt: a model that meets its inputs once, in the order in which they come, without labels.

    for each batch:  see it with the adapter;  may the adapted model answer (guard)?;  update;  answer

The model's own parameters and buffers are never touched: everything that changes is in one adapter, and `close`
takes it out. Whatever is kept is bounded: a window of inputs, the last answers, two snapshots, the last events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine import adapters, attach, only
from acclimate.engine.batch import first_tensor, map_tensors, move, rows_of, run_batch
from acclimate.loops.adaptation import Adaptation
from acclimate.loops.draws import Draws
from acclimate.loops.evaluate import logits_of
from acclimate.loops.guard import Guard, Verdict
from acclimate.loops.learner import Learner, Snapshot
from acclimate.loops.loop import LoopError
from acclimate.loops.recall import Answered, Recall
from acclimate.loops.signs import Look, ear, look
from acclimate.loops.taps import tapped
from acclimate.loops.watches import Watch, watching
from acclimate.loops.window import Window
from acclimate.losses import Seen
from acclimate.rules import NonFinite

__all__ = ["Event", "Stream", "stream"]

_SMALL, _WINDOW = 16, 64  # where none is asked for: batches below the first see a window of the second
_EVENTS, _RECALLED, _KEPT = 256, 256, 8  # events and rows remembered; updates between two snapshots


@dataclass(frozen=True)
class Event:
    """What happened at a step: ``drift``, ``trust``, ``rollback``, ``refuse`` or ``non-finite``, on which sign, and why."""

    step: int
    kind: str
    sign: str
    why: str
    values: dict[str, float]


class Stream:
    """A model on a stream; made by `stream`. ``trusted`` says whose answers are given."""

    def __init__(
        self, model: nn.Module, row: Adaptation, guard: Guard | None, window: int | None, seed: int, name: str
    ) -> None:
        self.model, self.row, self.guard, self.seed, self.name = model, row, guard, seed, name
        self.closed = True
        device = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
        self.device = device
        self.adapter = attach(model, row.method, name=name, seed=seed)
        self._modes = [(module, module.training) for module in model.modules()]
        self.closed = False
        model.eval()
        wanted = row.loss.wants() if row.loss is not None else frozenset()
        self._places = sorted(want.partition(":")[2] for want in wanted if want.startswith("features:"))
        self._asked = window
        self.window = Window(_WINDOW if window is None else window)
        self.recall = Recall(_RECALLED)
        try:
            with Draws(self.seed, self.device)(), self._as("adapted"):
                self.learner = Learner(model, self.adapter, row, seed)
                self._clear()
        except BaseException:
            self.close()
            raise

    def _clear(self) -> None:
        self.step = 0
        self.watch = None if self.guard is None else watching(self.guard, self.row.expects)
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._draws = Draws(self.seed, self.device)
        self.signs: dict[str, float] = {}  # what the guard saw last
        self._fresh = 0  # rows since the last whole look
        self._good = self._next = Snapshot()
        self._for = self._against = 0.0  # labelled rows that only the adapted, only the frozen model got right
        self.window.clear()
        self.recall.clear()

    @property
    def events(self) -> list[Event]:
        """The last events, oldest first."""
        return list(self._events)

    @property
    def trusted(self) -> bool:
        """Whether the adapted model answers."""
        return self.watch is None or self.watch.trusted

    def __call__(self, inputs: Any) -> Tensor:
        """Logits for one batch, (rows, classes), then adapt to it. ``inputs``: a tensor, tuple or mapping."""
        if self.closed:
            raise LoopError("this stream is closed: open another with acc.stream(model, ...)")
        first = first_tensor(inputs)
        if first.dim() == 0 or len(first) == 0:
            raise LoopError(f"the batch is empty: its first tensor has shape {tuple(first.shape)}, and a row is needed")
        inputs = move(inputs, self.device)
        with self._draws():
            answer, adapted, frozen = self._answer(inputs)
        self.recall.push(inputs, adapted, frozen)
        self.step += 1
        return answer.detach()

    def unadapted(self, inputs: Any) -> Tensor:
        """What the model without this adapter says, (rows, classes); nothing of the stream moves."""
        with Draws(self.seed, self.device)():
            return self._frozen(move(inputs, self.device)).logits

    def over(self, batches: Any) -> Iterator[Tensor]:
        """The logits of batch after batch; a stream that holds none is an error."""
        empty = True
        for inputs in batches:
            empty = False
            yield self(inputs)
        if empty:
            raise LoopError("the stream is empty: it gave no batch, so there is nothing to answer")

    def _answer(self, inputs: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The answer, and the logits of the adapted and the frozen model where they ran."""
        if not _finite(inputs):
            frozen = self._frozen(inputs).logits
            self._note("non-finite", "inputs", "the inputs hold NaN or infinite values: the frozen model answers", {})
            return frozen, None, frozen
        rows = rows_of(inputs)
        batch, windowed = self._gather(inputs, rows)
        self._fresh += rows
        due = not windowed or self._fresh >= self.window.size
        if windowed and (not self.window.full or not (self.trusted or due)):
            frozen = self._frozen(inputs).logits
            return frozen, None, frozen
        learner = self.learner
        if due and self.watch is not None and not learner.observers and self.watch.waits(rows_of(batch)):
            return self._waited(self.watch, inputs, batch, windowed)
        learning = due and learner.learns and self.trusted
        with self._as("adapted"), learner.hearing() as heard:
            learner.turn()
            numbers = torch.arange(self.recall.given + rows - rows_of(batch), self.recall.given + rows)
            seen, shown = self._see(batch, learning and not learner.remembers, numbers)
        if not bool(shown.logits.isfinite().all()):
            return self._broken(inputs, "logits", "the adapted logits are not finite")
        looked: list[Look] = []
        if due:
            self._fresh = 0
            if self.watch is not None:
                self._judge(self.watch, shown, batch, windowed, looked)
            if heard:
                learner.observe(heard)
        own = shown.logits[-rows:]
        if not self.trusted:
            frozen = looked[0].logits if looked and not windowed else self._frozen(inputs).logits
            return frozen, own, frozen
        if learning:
            broken = self._learn(seen, batch)
            if broken:
                return self._broken(inputs, "loss", broken)
            if self.row.answer == "after":
                with self._as("adapted"):
                    own = self._see(batch, learning=False)[1].logits[-rows:]
        if learning or heard:
            self._keep()
        return own, own, None

    def _waited(
        self, watch: Watch, inputs: Any, batch: Any, windowed: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The frozen model answers, and what it shows is all that the guard looks at: the adapted one cannot be trusted yet."""
        self._fresh = 0
        shown = self._frozen(batch)
        self._hear(watch.wait(shown), "refuse")
        frozen = self._frozen(inputs).logits if windowed else shown.logits
        return frozen, None, frozen

    def _hear(self, verdict: Verdict, kind: str) -> None:
        self.signs = values = verdict.values
        if self.watch is not None and self.watch.drifts(values):
            why = f"what enters the network lies {values['jump']:.2f} deviations from the batch before it: conditions changed"
            self._note("drift", "conditions", why, values)
        if verdict.sign:
            self._tell("trust" if verdict.trusted else kind, verdict)

    def _gather(self, inputs: Any, rows: int) -> tuple[Any, bool]:
        """The batch to look at: what came, or the window that ends with it."""
        if self._whole(rows):
            if self.window.size:
                self.window.renew(inputs)
            return inputs, False
        self.window.push(inputs)
        return self.window.inputs, True

    def _whole(self, rows: int) -> bool:
        """Whether so many rows are seen as they come, and not at the end of a window."""
        return not self.window.size or rows >= (_SMALL if self._asked is None else self._asked)

    def _judge(self, watch: Watch, shown: Look, batch: Any, windowed: bool, looked: list[Look]) -> None:
        before = watch.trusted

        def frozen() -> Look:
            looked.append(self._frozen(batch))
            return looked[0]

        def earlier() -> Look:
            return self._frozen(self.recall.held[-1].inputs)

        known = not windowed and bool(self.recall.held) and _finite(self.recall.held[-1].inputs)
        verdict = watch.judge(shown, frozen, self.learner.moved, earlier if known else None)
        self._hear(verdict, "rollback" if before and self.learner.learns else "refuse")
        if before and not verdict.trusted:
            self._roll_back()

    def _see(self, batch: Any, learning: bool, index: Tensor | None = None) -> tuple[Seen, Look]:
        """One forward of whatever is chosen, and what players add to it."""
        with torch.set_grad_enabled(learning), tapped(self.model, self._places) as taps, ear(self.model) as heard:
            output = run_batch(self.model, batch)
            logits = logits_of(output)
            learner = self.learner
            seen = Seen(
                batch, output, logits, features=taps.take(), start=learner.start, modules=learner.modules, index=index
            )
        shown = look(heard, logits.detach())
        if learning or self.row.answer == "teacher":
            for player in self.learner.players:
                player.look(seen)
        if self.row.answer == "teacher" and seen.teacher is not None:
            shown.logits = seen.teacher.detach()
        return seen, shown

    def _frozen(self, batch: Any) -> Look:
        """What the model without this adapter says."""
        with self._as("frozen"), torch.no_grad(), ear(self.model) as heard:
            return look(heard, logits_of(run_batch(self.model, batch)))

    def _learn(self, seen: Seen, batch: Any) -> str:
        """Update; what went wrong, if anything did."""
        material = self.learner.practise(batch, seen.logits.detach())
        if material is None:
            return ""
        first = seen if seen.logits.requires_grad and material is batch else None
        index = seen.index if material is batch else None
        return self._updated(lambda: self.learner.update(lambda: self._see(material, True, index)[0], first))

    def _updated(self, update: Callable[[], None]) -> str:
        try:
            with self._as("adapted"):
                update()
        except NonFinite as error:
            return str(error)
        if not self.learner.finite:
            return "the update left parameters that are not finite"
        return ""

    def _keep(self) -> None:
        """Another batch that did no harm: now and then it is what to go back to."""
        self.learner.turns += 1
        if self.learner.turns % _KEPT == 0:
            self._good, self._next = self._next, self.learner.snapshot()

    def _told(self, batch: Answered, places: Tensor, truth: Tensor) -> str:
        """Learn from rows whose truth has come; what went wrong, if anything did."""
        learner, device, inputs = self.learner, self.device, batch.inputs
        index = torch.arange(batch.first, batch.first + rows_of(inputs))
        if not (learner.observers or self.row.taught is not None) or not _finite(inputs):
            return ""
        places, truth = places.to(device), truth.to(device)

        def update() -> None:
            with learner.hearing() as heard:
                self._see(inputs, learning=False)
            learner.observe(heard, places, truth)
            learner.taught(lambda: self._see(inputs, True, index)[0], places, truth)

        with self._draws():
            return self._updated(update)

    def _broken(self, inputs: Any, sign: str, why: str) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Numbers that are none: the frozen model answers, and what was learned goes back to the last good state."""
        self._lost(sign, f"{why}; the frozen model answers", rows_of(inputs))
        frozen = self._frozen(inputs).logits
        return frozen, None, frozen

    def _lost(self, sign: str, why: str, rows: int) -> None:
        if self.watch is not None:
            self.watch.lose(rows)
        self._roll_back()
        self._note("non-finite", sign, f"{why}, back to the last good state", {})

    def _roll_back(self) -> None:
        with self._as("adapted"):
            self.learner.restore(self._good)
        self._next = self._good

    def feedback(self, ids: Sequence[int], labels: Any) -> int:
        """Labels that arrive late, for rows by number (from 0, in the order they came); how many were still known.

        What the method puts into the model may observe them, and ``taught`` learns from them. Where both models' answers to
        labelled rows are known, or the frozen model's can still be had, they are compared: the guard drops an adapted model that
        does worse, and trusts one that does better.
        """
        if self.closed:
            raise LoopError("this stream is closed: labels can teach it nothing more")
        labels, used = torch.as_tensor(labels).cpu(), 0
        for batch, places, truth in self.recall.find(ids, labels):
            used += len(places)
            broken = self._told(batch, places, truth)
            if broken:
                self._lost("feedback", broken, len(places))
            both = None if self.watch is None or truth.is_floating_point() else self._both(batch)
            if both is None:
                continue
            adapted, frozen = (each.cpu()[places] == truth for each in both)
            self._for += float((adapted & ~frozen).sum())
            self._against += float((frozen & ~adapted).sum())
        if self.watch is not None:
            self._weigh(self.watch)
        return used

    def _both(self, batch: Answered) -> tuple[Tensor, Tensor] | None:
        """Both models' answers to a batch: the frozen one's can always be had, the adapted one's while it is on probation."""
        with self._draws():
            if batch.frozen is None:
                batch.frozen = self._frozen(batch.inputs).logits.argmax(-1)
            if (
                batch.adapted is None
                and not self.trusted
                and self._whole(rows_of(batch.inputs))
                and _finite(batch.inputs)
            ):
                with self._as("adapted"), torch.no_grad():
                    batch.adapted = logits_of(run_batch(self.model, batch.inputs)).argmax(-1)
        return None if batch.adapted is None else (batch.adapted, batch.frozen)

    def _weigh(self, watch: Watch) -> None:
        """A sign test on the labelled rows that the two models answer differently."""
        better, worse = self._for, self._against
        if better + worse < 8 or abs(better - worse) < 2 * (better + worse) ** 0.5:
            return
        values = {"only adapted right": better, "only frozen right": worse}
        said = (
            f"of the labelled rows the adapted model alone got {better:.0f} right, the frozen model alone {worse:.0f}"
        )
        if worse > better and watch.trusted:
            watch.lose(_WINDOW)
            self._roll_back()
            self._tell("rollback", Verdict(False, values, "labels", f"{said}; frozen answers"))
        elif better > worse and not watch.trusted:
            watch.win()
            self._tell("trust", Verdict(True, values, "labels", f"{said}: adapted answers"))
        self._for = self._against = 0.0

    def reset(self) -> None:
        """Back to before the first row, to the bit: parameters, optimiser, players, window, guard, randomness."""
        if self.closed:
            raise LoopError("this stream is closed: open another with acc.stream(model, ...)")
        with Draws(self.seed, self.device)(), self._as("adapted"):
            self.learner.begin()
        self._clear()

    def close(self) -> None:
        """Take the adapter out; the model is what it was, to the bit. A second time does nothing."""
        if self.closed:
            return
        self.closed = True
        self.adapter.detach()
        for module, mode in self._modes:
            module.training = mode
        self.window.clear()
        self.recall.clear()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _note(self, kind: str, sign: str, why: str, values: dict[str, float]) -> None:
        self._events.append(Event(self.step, kind, sign, why, values))

    def _tell(self, kind: str, verdict: Verdict) -> None:
        self._note(kind, verdict.sign, verdict.why, verdict.values)

    @contextmanager
    def _as(self, which: str) -> Iterator[None]:
        """The model with its other enabled adapters, and this one or not."""
        others = [n for n, a in adapters(self.model).items() if n != self.name and a.enabled]
        with only(self.model, *others, *([self.name] if which == "adapted" else [])):
            yield


def _finite(inputs: Any) -> bool:
    found: list[bool] = []
    map_tensors(inputs, lambda t: found.append(bool(t.isfinite().all())) if t.is_floating_point() else None)
    return all(found)


def stream(
    model: nn.Module,
    row: Any,
    guard: bool | Guard = True,
    window: int | None = None,
    seed: int = 0,
    name: str = "stream",
) -> Stream:
    """Open a stream on a model: ``row`` is an `Adaptation`, or has one as its ``adaptation`` (a recipe).

    ``guard=False`` is the plain method. A batch of fewer than ``window`` rows is seen at the end of the last
    ``window`` rows, and an update is made each time as many have come; until then the frozen model answers.
    ``window=0`` takes batches as they come, and ``None`` gives those of fewer than 16 rows a window of 64. An input
    mask of an attention counts as an input; inputs in a window must be of one shape.

    >>> from acclimate.methods import BatchStatistics
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))
    >>> with stream(model, Adaptation({BatchStatistics(): "all"}), guard=False) as answers:
    ...     answers(torch.randn(32, 4)).shape
    torch.Size([32, 3])
    """
    adaptation = row if isinstance(row, Adaptation) else getattr(row, "adaptation", None)
    if not isinstance(adaptation, Adaptation):
        raise LoopError(
            f"a stream needs an Adaptation or a recipe that has one, and {type(row).__name__} is neither: give "
            "acc.recipe('tent'), or Adaptation({method: at}, loss, rule)"
        )
    if window is not None and (window < 0 or window == 1):
        raise LoopError(f"window={window} cannot work: give 0 for none, or at least 2 rows")
    watching = Guard() if guard is True else guard if isinstance(guard, Guard) else None
    return Stream(model, adaptation, watching, window, seed, name)
