"""Whether the guard holds: every stream method, on streams it was made for and on those it was not, beside the frozen model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from acclimate.bench import conditions
from acclimate.bench.convnet import pretrained
from acclimate.bench.digits import digits
from acclimate.bench.on_streams import ways
from acclimate.bench.shift import percent, world
from acclimate.data import generator
from acclimate.data.streams import Protocol
from acclimate.loops import Adaptation, stream

__all__ = ["OPTIONS", "PROTOCOL", "STREAMS", "measure"]

OPTIONS = ("small",)
"""What `acclimate bench` may ask beside the folder, of which nothing is read: a few methods, one seed."""
SEEDS = (0, 1)
FEW = ("batch statistics", "tent", "eata", "rotta", "lame")
GAINS = ("i.i.d.", "continual", "gradual")
"""Where the guard has to keep what adapting gains."""
LEAST = 1.0
"""Points: what the guard may cost, and what has to be gained before a share of it is asked for."""
PROTOCOL = (
    "the bundled digits and their network; accuracy in percent over each whole stream, answers given before anything is learned. "
    "For each stream: guarded minus frozen, in points, the least of the seeds; `kept` is the share of the unguarded method's gain "
    "that is left, where it gains at least a point, the mean of the seeds. Bounds: no less than 1 point below frozen, or the "
    "errors of one batch where those are more; 80 % kept. Teachers that look many times look twice"
)

Rows = list[tuple[Tensor, Tensor]]


def _flow(*names: str, **settings: Any) -> Callable[[int], Rows]:
    def drawn(seed: int) -> Rows:
        told = {"severity": 3, "samples": 300, "size": 50} | settings
        return [(each.inputs, each.labels) for each in Protocol(names, **told).flow(conditions.source(), seed)]

    return drawn


def _rounds(flow: Callable[[int], Rows], times: int) -> Callable[[int], Rows]:
    """The same again and again, each time in an order of its own."""

    def drawn(seed: int) -> Rows:
        return [batch for number in range(times) for batch in flow(times * seed + number)]

    return drawn


def _adversarial(seed: int) -> Rows:
    return [(images, labels) for _, images, labels in world("sorted", seed)][::2]


def _constant(seed: int) -> Rows:
    images, labels = digits("test")
    return [(images[seed : seed + 1].expand(50, -1, -1, -1), labels[seed : seed + 1].expand(50))] * 12


def _broken(seed: int) -> Rows:
    """Every fifth batch has a frame of nan among its rows, which nobody can be right about."""
    found = _flow("noise", "contrast")(seed)
    return [(_with_nan(x) if number % 5 == 4 else x, y) for number, (x, y) in enumerate(found)]


def _with_nan(images: Tensor) -> Tensor:
    images = images.clone()
    images[:3] = torch.nan
    return images


def _one_class(seed: int) -> Rows:
    """Clean batches of one class each, the classes in an order of their own."""
    images, labels = digits("test")
    order = torch.randperm(10, generator=generator(seed)).tolist() * 2
    rows = [(labels == number).nonzero().flatten() for number in range(10)]
    halves = [rows[number].chunk(2)[turn // 10] for turn, number in enumerate(order)]
    return [(images[half], labels[half]) for half in halves]


STREAMS: dict[str, Callable[[int], Rows]] = {
    "i.i.d.": _rounds(_flow("contrast", samples=None), 3),
    "continual": _flow("noise", "blur", "contrast", "rotation", samples=None),
    "gradual": _flow("noise", "blur", "contrast", "rotation", order="gradual", samples=None),
    "correlated": _flow("noise", "contrast", correlation=0.1),
    "single sample": _flow("contrast", samples=200, size=1),
    "imbalanced": _flow("noise", "contrast", tail=10.0),
    "10 rounds": _rounds(_flow("noise", "contrast", samples=100), 10),
    "adversarial": _adversarial,
    "constant": _constant,
    "nan frames": _broken,
    "one class": _one_class,
}


def measure(
    data: Path, small: bool = False, seeds: Sequence[int] = SEEDS, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """A row for each method."""
    seeds = seeds[:1] if small else seeds
    drawn = {name: [make(seed) for seed in seeds] for name, make in STREAMS.items()}
    frozen = {
        name: [_score(None, rows, seed) for seed, rows in zip(seeds, each, strict=True)] for name, each in drawn.items()
    }
    found = [{"method": "frozen, percent", **{name: round(mean(values), 1) for name, values in frozen.items()}}]
    for method, way in ways().items():
        if way is None or (small and method not in FEW):
            continue
        found.append(_row(method, way, drawn, frozen, seeds))
        last = found[-1]
        said = [f"{name} {last[name]}" for name in ("below", "kept less", "why") if last[name]]
        say(f"{method}: {'; '.join(said) or 'holds'}")
    empty = dict.fromkeys(name for row in found for name in row)
    return [empty | row for row in found]


def _row(
    method: str, way: Adaptation, drawn: dict[str, list[Rows]], frozen: dict[str, list[float]], seeds: Sequence[int]
) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method}
    try:
        return row | _cells(way, drawn, frozen, seeds)
    except ValueError as error:  # what every room refuses with
        return row | {"below": "", "kept less": "", "why": str(error)}


def _cells(
    way: Adaptation, drawn: dict[str, list[Rows]], frozen: dict[str, list[float]], seeds: Sequence[int]
) -> dict[str, Any]:
    row: dict[str, Any] = {}
    below, kept = [], []
    for name, streams in drawn.items():
        guarded = [_score(way, rows, seed, True) for seed, rows in zip(seeds, streams, strict=True)]
        least = min(a - b for a, b in zip(guarded, frozen[name], strict=True))
        row[name] = round(least, 1)
        batch, total = max(len(y) for _, y in streams[0]), sum(len(y) for _, y in streams[0])
        if least < -max(LEAST, 100 * batch / total):
            below.append(name)
        if name in GAINS:
            free = [_score(way, rows, seed, False) for seed, rows in zip(seeds, streams, strict=True)]
            gain = mean(free) - mean(frozen[name])
            share = None if gain < LEAST else round((mean(guarded) - mean(frozen[name])) / gain, 2)
            row[f"{name}, kept"] = share
            if share is not None and share < 0.8:
                kept.append(name)
    return row | {"below": ", ".join(below), "kept less": ", ".join(kept), "why": ""}


def _score(way: Adaptation | None, rows: Rows, seed: int, guard: bool = False) -> float:
    model = pretrained()
    if way is None:
        with torch.no_grad():
            answers = [model(images) for images, _ in rows]
    else:
        with stream(model, way, guard=guard, seed=seed) as live:
            answers = [live(images) for images, _ in rows]
    return percent(torch.cat(answers).nan_to_num(nan=-1.0), torch.cat([labels for _, labels in rows]))
