"""What was seen on a stream: answers on disk, accuracy beside the unadapted model's, a live view, and the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from acclimate.cli.arrivals import Arrival, late_labels
from acclimate.cli.output import plain, say
from acclimate.data.streams import mark
from acclimate.engine.files import write_whole

if TYPE_CHECKING:
    from acclimate.loops import Stream

__all__ = ["Watched", "shown", "write_report"]

ANSWERS, SEEN = "answers.jsonl", "seen.json"
_POINTS, _PARTS = 2000, 24


@dataclass
class Watched:
    """Shares by batch of the labelled rows that were answered rightly; bounded, since neighbours become one as they grow many."""

    out: Path
    rows: int = 0
    names: set[str] = field(default_factory=set)
    right: list[tuple[int, int, int]] = field(default_factory=list)  # (labelled rows, right, right unadapted) by batch
    parts: list[tuple[int, int, int, int]] = field(
        default_factory=list
    )  # the same between drifts, after their first row
    given: list[dict[str, Any]] = field(default_factory=list)  # answers that are not on disk yet
    read: int = 0
    # as of the last two states: a kill may fall between two files
    kept: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    def resumed(out: Path, done: int) -> Watched:
        """What was seen until the state on disk was written; answers beyond it will be given again."""
        found = Watched(out)
        path, kept = out / SEEN, out / ANSWERS
        if not done:
            kept.unlink(missing_ok=True)
            return found
        kept_twice = json.loads(path.read_text(encoding="utf-8")) if path.exists() and kept.exists() else []
        before = next((each for each in kept_twice if each["rows"] == done), None)
        if before is None:
            raise ValueError(f"{path} knows nothing of the {done} rows that {out} has a state of: give another folder")
        lines = kept.read_text(encoding="utf-8").splitlines(keepends=True)[:done]
        write_whole(kept, "".join(lines).encode())
        names = {json.loads(line)["name"] for line in lines}
        right = [(n, r, f) for n, r, f in before["right"]]
        parts = [(first, n, r, f) for first, n, r, f in before["parts"]]
        return Watched(out, done, names, right, parts, [], before["read"], [before])

    def meet(self, live: Stream, arrival: Arrival) -> None:
        """Answer what came, and remember it."""
        if arrival.late:
            live.feedback(list(arrival.late), list(arrival.late.values()))
            return
        first, logits = self.rows, live(arrival.inputs)
        if not self.parts or any(event.kind == "drift" and event.step == live.step - 1 for event in live.events[-2:]):
            self.parts = [*self.parts, (first, 0, 0, 0)][-_PARTS:]
        asked = live.recall.held[-1].frozen is None  # a trusted model's place is taken where inputs are no numbers
        who = "adapted" if live.trusted and asked else "unadapted"
        classes = logits.argmax(-1).flatten(1).tolist() if logits.dim() > 2 else logits.argmax(-1).tolist()
        for name, kind in zip(arrival.called, classes, strict=True):
            self.given.append({"row": self.rows, "name": name, "class": kind, "by": who})
            self.rows += 1
        if arrival.labels is not None:
            self._score(live, logits, arrival.inputs, arrival.labels)

    def _score(self, live: Stream, logits: Tensor, inputs: Any, labels: Tensor) -> None:
        with torch.no_grad():
            frozen = live.unadapted(inputs)
        ours, theirs = (int((z.argmax(-1).cpu() == labels).sum()) for z in (logits, frozen))
        self.right.append((len(labels), ours, theirs))
        first, *counts = self.parts[-1]
        labelled, right, unadapted = (a + b for a, b in zip(counts, self.right[-1], strict=True))
        self.parts[-1] = (first, labelled, right, unadapted)
        if len(self.right) > _POINTS:
            pairs = zip(self.right[::2], self.right[1::2], strict=False)
            self.right = [(a[0] + b[0], a[1] + b[1], a[2] + b[2]) for a, b in pairs]

    def told(self, live: Stream, path: Path) -> None:
        """Hand over the labels that have come into a file since it was last read, of rows that were answered."""
        found, self.read = late_labels(path, self.read)
        known = {row: kind for row, kind in found.items() if row < self.rows}
        if known:
            live.feedback(list(known), list(known.values()))

    def keep(self) -> None:
        """Answers to disk, to be followed by the state: what a kill leaves beyond the state is cut off on resuming."""
        with (self.out / ANSWERS).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(each) + "\n" for each in self.given)
        self.given = []
        self.kept = [
            *self.kept[-1:],
            {"rows": self.rows, "right": list(self.right), "parts": list(self.parts), "read": self.read},
        ]
        write_whole(self.out / SEEN, json.dumps(self.kept).encode())

    def shares(self) -> tuple[list[float], list[float]]:
        """The accuracy of the answers and of the unadapted model, by batch."""
        return [r / n for n, r, _ in self.right], [f / n for n, _, f in self.right]

    def record(self, live: Stream, recipe: str, model: str, stream: str) -> dict[str, Any]:
        labelled, right, frozen = (sum(each) for each in zip(*self.right, strict=True)) if self.right else (0, 0, 0)
        made: dict[str, Any] = plain(
            {
                "recipe": recipe, "model": model, "base": mark(live.model), "stream": stream, "rows": self.rows,
                "labelled": labelled, "accuracy": right / labelled if labelled else None,
                "unadapted": frozen / labelled if labelled else None, "trusted": live.trusted,
                "moved": live.learner.moved, "signs": live.signs, "events": live.events,
            }
        )  # fmt: skip
        return made


@contextmanager
def shown(seen: Watched, live: Stream, quiet: bool) -> Iterator[Callable[[], None]]:
    """A view that is renewed in place at a terminal, and a line now and then where there is none."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        last = [0]

        def line() -> None:
            if not quiet and live.step >= 2 * last[0]:  # at 1, 2, 4, 8 ... batches
                last[0] = max(1, live.step)
                say("acclimate: " + "; ".join(f"{name} {value}" for name, value in _facts(seen, live)))

        yield line
        return
    with Live(console=console, refresh_per_second=8) as view:
        yield lambda: view.update(_table(seen, live))


def _facts(seen: Watched, live: Stream) -> list[tuple[str, str]]:
    """What to know at a glance."""
    answers, frozen = seen.shares()
    facts = [
        ("rows", f"{seen.rows:,}"),
        ("answers from", "the adapted model" if live.trusted else "the unadapted model"),
    ]
    if answers:
        recent = min(20, len(answers))
        mean = [sum(each[-recent:]) / recent for each in (answers, frozen)]
        facts.append(("right lately", f"{mean[0]:.1%} (unadapted {mean[1]:.1%})"))
    for name, said in (("shift", "conditions lie"), ("drift", "batches apart")):
        if name in live.signs:
            facts.append((said, f"{live.signs[name]:.2f}"))
    facts.append(("moved", f"{live.learner.moved:.4f}"))
    if live.events:
        facts.append(("last event", f"batch {live.events[-1].step}: {live.events[-1].kind}"))
    return facts


def _table(seen: Watched, live: Stream) -> Any:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for name, value in _facts(seen, live):
        table.add_row(name, value)
    return table


def write_report(path: Path, seen: Watched, live: Stream, record: dict[str, Any]) -> None:
    """One HTML page: accuracy over time and by conditions, what the guard said, what moved and how far."""
    from acclimate.report import Figures, Number, Section, Table, Text, bars, curve, page

    numbers = [
        Number(
            f"{record['rows']:,}", "rows answered", "by the adapted model now" if record["trusted"] else "unadapted now"
        )
    ]
    sections: list[Section] = [
        Text(
            f"`{record['recipe']}` on `{record['base']}`; the stream is `{record['stream']}`, in the order in which it came, "
            "answered before it is learned from, never reset. Nothing was selected."
        ),
        Figures(numbers),
    ]
    answers, frozen = seen.shares()
    if answers:
        numbers.append(Number(f"{record['accuracy']:.1%}", "right", f"{record['unadapted']:.1%} unadapted"))
        lines = {"unadapted": frozen, record["recipe"]: answers}
        sections.append(curve(lines, window=5, caption="rows whose labels came with them"))
    parts = {
        f"from row {first:,}": {"unadapted": unadapted / labelled, record["recipe"]: right / labelled}
        for first, labelled, right, unadapted in seen.parts
        if labelled
    }
    if len(parts) > 1:
        sections += [
            Text("What enters the network drifted between these.", "By conditions"),
            bars(parts, caption="rows whose labels came with them"),
        ]
    events = [
        {"batch": each["step"], "what": each["kind"], "sign": each["sign"], "why": each["why"]}
        for each in record["events"]
    ]
    sections.append(Text("" if events else "The guard had nothing to say.", "What the guard said"))
    if events:
        sections.append(Table(events[-50:]))
    moved = _moved(live)
    if moved:
        sections += [Text(heading="What moved"), Table(moved, caption="root mean square, the twenty that moved most")]
    write_whole(path, page(f"{record['recipe']} on a stream", sections).encode())


def _moved(live: Stream) -> list[dict[str, Any]]:
    named = zip(live.learner.named, live.learner.first, strict=True)
    rows = [
        {"part": name, "moved": float((p.detach() - first).square().mean().sqrt())} for (name, p, _), first in named
    ]
    return sorted(rows, key=lambda row: -row["moved"])[:20]  # type: ignore[operator,arg-type]
