"""Methods on streams of real data: how often each is wrong, in the order it hopes for and in the one it fears."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from acclimate.bench.filled import Cell, Row, filled
from acclimate.bench.stream_costs import costs
from acclimate.bench.stream_findings import findings
from acclimate.bench.stream_tasks import StreamTask, stream_tasks
from acclimate.data.streams import Flow, Protocol
from acclimate.loops import Adaptation, stream
from acclimate.losses import MeanSquares
from acclimate.methods import BatchStatistics, Full
from acclimate.rules import Gradient

__all__ = ["COSTS", "OPTIONS", "PROTOCOL", "answered", "findings", "measure", "ways"]

OPTIONS = ("small", "cost", "kept", "jobs")
"""What `acclimate bench` may ask beside the folder: a quick look, what steps cost in the place of how good they are, where rows
are kept as they come, and how many are measured at a time."""
SEEDS = (0, 1, 2)
VIEWS = 2
GUARDED = ("adaptive", "tent")
"""What is measured with its guard as well."""
FEW = (
    "unadapted", "batch statistics", "batch statistics, blend 0.1", "adaptive", "tent", "eata", "sar", "roid", "cotta, 2 views",
    "rotta", "note", "unmix-tns", "lame", "t3a",
)  # fmt: skip
"""What stands for its kind, where not every method is asked."""
PROTOCOL = (
    "error in percent over each whole stream, answers given before the model learns from a batch, and mean squares where it "
    "forecasts; the mean over the seeds, and how far the best seed is from the worst. Every method has its own defaults, without a "
    "guard where none is named; teachers that look many times look twice. A method that a network or its task cannot have has no "
    "number, and why is said. All methods stand beside the first network of the photographs and beside the words, those that stand "
    "for their kinds beside the other networks"
)

COSTS = (
    "steps as multiples of the frozen model's pass, of the first network of the photographs, and the bytes that a step keeps for "
    "the backward pass; every method at its own defaults, teachers that look many times look twice"
)
"""What is measured where costs are asked for."""

Ways = dict[str, Adaptation | None]


def ways(counts: str = "error") -> Ways:
    """What is compared, by name; None is the model as it is. Recipes for streams are those that there are.

    A teacher that looks many times looks twice here, and its name says so.
    """
    found: Ways = {"unadapted": None}
    if counts == "squares":
        slow = Gradient(lr=1e-2, optimiser="sgd", schedule="constant", warmup=0)
        late = Adaptation({Full(): "head"}, rule=slow, taught=MeanSquares())
        return found | {"batch statistics, blend 0.1": _statistics(0.1), "late truths, head": late}
    found |= {"batch statistics": _statistics(1.0), "batch statistics, blend 0.1": _statistics(0.1)}
    recipes = importlib.import_module("acclimate.recipes.recipe")  # above this floor, and nothing of it is used here
    for name, each in recipes.all_recipes().items():
        if each.defaults.get("views", 0) > VIEWS:
            name, each = f"{name}, {VIEWS} views", each.using(views=VIEWS)
        if each.needs == {"stream"} and isinstance(each.made, Adaptation):
            found[name] = each.made
    return found


def _costly() -> Ways:
    """What is timed: of EcoTTA, whose parts are to be several blocks, also one network beside the last part of this one."""
    found, beside = ways(), "ecotta, beside the last convolution"
    recipes = importlib.import_module("acclimate.recipes.recipe")
    return found | {beside: recipes.all_recipes()["ecotta"].using(at="layer3.2.conv2").made}


def _statistics(blend: float) -> Adaptation:
    return Adaptation({BatchStatistics(blend=blend): "all"})


def measure(
    data: Path,
    small: bool = False,
    cost: bool = False,
    seeds: Sequence[int] = SEEDS,
    kept: Path | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """A row for each task, order and method, and the line of its protocol; of costs, a row for each method."""
    if cost and (small or jobs != 1):
        raise ValueError("costs are of few steps, timed one after the other: leave out --small and --jobs, or --cost")
    if cost:
        return costs(stream_tasks(data, small=True)[0], _costly(), say)
    seeds = seeds[:1] if small else seeds
    cells = [
        (task.name, order, name, "guarded" if guard else "", _line(protocol, task, seeds))
        for task in _tasks(data, small)
        for order, protocol in task.protocols.items()
        for name in ways(task.counts)
        if task.every or name in FEW
        for guard in (False, True)[: 2 if name in GUARDED else 1]
    ]
    return filled(cells, functools.partial(_measured, data, small, tuple(seeds)), kept, jobs, say)


def _line(protocol: Protocol, task: StreamTask, seeds: Sequence[int]) -> str:
    return f"{protocol}; {task.counts}; seeds {', '.join(map(str, seeds))}"


@functools.lru_cache(1)
def _tasks(data: Path, small: bool) -> list[StreamTask]:
    return stream_tasks(data, small)


def _measured(data: Path, small: bool, seeds: Sequence[int], cell: Cell) -> Row:
    name, order, method, guarded, line = cell
    (task,) = [task for task in _tasks(data, small) if task.name == name]
    flow = functools.partial(task.protocols[order].flow, task.source)
    row = {
        "task": name,
        "order": order,
        "method": f"{method}, {guarded}" if guarded else method,
        "error": None,
        "spread": None,
        "why": "",
        "protocol": line,
    }
    way = ways(task.counts)[method]
    try:
        found = [_wrong(task, *answered(task, way, flow(seed=seed), bool(guarded), seed)) for seed in seeds]
    except ValueError as error:  # what every room refuses with
        return {**row, "why": str(error).split(":")[0]}
    return {**row, "error": round(mean(found), 3), "spread": round(max(found) - min(found), 3)}


def answered(
    task: StreamTask, way: Adaptation | None, flow: Flow, guard: bool = False, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Answers (rows, values) of a whole stream, and the truth; the task's network is afterwards what it was."""
    answers, labels = [], []
    if way is None:
        with torch.no_grad():
            return torch.cat([task.model(each.inputs) for each in flow]), torch.cat([each.labels for each in flow])
    with stream(task.model, way, guard=guard, seed=seed, name="bench") as live:
        for arrival in flow:
            if arrival.fresh:
                live.reset()
            ids, truth = arrival.due
            if len(ids):
                live.feedback(ids.tolist(), truth)
            answers.append(live(arrival.inputs))
            labels.append(arrival.labels)
    return torch.cat(answers), torch.cat(labels)


def _wrong(task: StreamTask, answers: Tensor, labels: Tensor) -> float:
    if task.counts == "squares":
        return float((answers - labels).square().mean())
    return 100 * float((answers.argmax(1) != labels).double().mean())
