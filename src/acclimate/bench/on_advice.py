"""Advice on pairs of real domains: how often it was within a point of the best, and how often it was right to leave a model alone.

A model is taught on a source first, and advice is asked about it as it then is; labels of the target come afterwards.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import nn

from acclimate.bench.domain_tasks import DomainTask, domain_tasks
from acclimate.choose.advice import advise
from acclimate.data import Batches
from acclimate.engine import attach
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Full
from acclimate.rules import Gradient

__all__ = ["OPTIONS", "PROTOCOL", "measure"]

OPTIONS = ("small",)
"""What `acclimate bench` may ask beside the folder: the bones alone."""
HAVE = ({"target", "source"}, {"target"})
BATCH, LR, NEAR = 64, 1e-3, 1.0
VERDICTS = ("gain", "harm", "rightly refused", "wrongly refused", "nothing changed", "nothing fits")
PROTOCOL = (
    "accuracy in percent on the whole target, seed 0. A model is taught on the source's labels first; then advice is asked about "
    "it, with source and target or with the target alone, of `acclimate advise`'s own candidates at their defaults. `best` is the "
    "best of all moments of all candidates and the model as it came, which only labels find; `best end` is the best end of a run. "
    f"`near` is a pick not more than {NEAR:g} point below the best end; a refusal is right where no end is more than {NEAR:g} "
    "point above the model as it came. Nothing changed: the target could not be told from the source, and nothing was tried. Pairs "
    "of a domain with itself are halves of it"
)


def measure(data: Path, small: bool = False, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """A row for each pair and each set of data that is had, and the counts."""
    rows = []
    for task in _tasks(data, small):
        model = _taught(task)
        for have in HAVE:
            rows.append(_advised(task, model, have))
            say(", ".join(f"{name}: {value}" for name, value in rows[-1].items() if name != "protocol"))
    return [*rows, *_counts(rows)]


def _tasks(data: Path, small: bool) -> Iterator[DomainTask]:
    """The pairs of the bench of domains, and before the first of a source its halves."""
    seen = set()
    for task in domain_tasks(data, small):
        start = task.name.partition(" to ")[0]
        if start not in seen:
            seen.add(start)
            order = torch.randperm(len(task.source[1]), generator=torch.Generator().manual_seed(0))
            rows, labels = task.source
            one, other = ((rows[half], labels[half]) for half in order.chunk(2))
            yield replace(task, name=f"{start} to itself", source=one, target=other)
        yield task


def _taught(task: DomainTask) -> nn.Module:
    model = task.make(0)
    adapter = attach(model, {Full(): "all"}, seed=0)
    rows = Batches(*task.source, size=BATCH, seed=0)
    fit(model, {"train": rows}, CrossEntropy(), finetune(epochs=task.epochs), Gradient(lr=LR), seed=0, progress=False)
    adapter.merge(keep=False)
    return model


def _advised(task: DomainTask, model: nn.Module, have: set[str]) -> dict[str, Any]:
    advised = importlib.import_module("acclimate.recipes.advised")  # above this floor, and nothing of it is used here
    target = Batches(*task.target, size=BATCH, seed=0)
    source = Batches(*task.source, size=BATCH, seed=0) if "source" in have else None
    advice = advise(model, advised.candidates(have), target, source)
    report = advice.selection.report(task.target)
    picked = report.unadapted if advice.recipe is None else report.accuracy[advice.selection.trials.index(advice.trial)]
    ends = {"unadapted": report.unadapted, **report.last}
    best = max(ends, key=lambda name: ends[name])
    points = {"as it came": report.unadapted, "picked": picked, "best end": ends[best], "best": report.oracle}
    short = 100 * (ends[best] - picked)
    tried, able = len(ends) > 1, bool(advice.costs.keys() - advice.refused.keys())
    verdict = _verdict(advice.recipe, 100 * (ends[best] - report.unadapted), 100 * (picked - report.unadapted))
    return {
        "pair": task.name,
        "have": ", ".join(sorted(have, reverse=True)),
        **{name: round(100 * value, 1) for name, value in points.items()},
        "expected": None if advice.expected is None else round(100 * advice.expected, 1),
        "advice": advice.recipe or "leave it alone",
        "best way": best,
        "near": short <= NEAR and tried,
        "verdict": verdict if tried else "nothing changed" if able else "nothing fits",
        "protocol": task.name.partition(",")[0],
    }


def _verdict(recipe: str | None, there: float, gained: float) -> str:
    """``there`` is what the best end gains over the model as it came, ``gained`` what the pick does, in points."""
    if recipe is None:
        return "rightly refused" if there <= NEAR else "wrongly refused"
    return "harm" if gained < 0 else "gain"


def _counts(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for have in dict.fromkeys(row["have"] for row in rows):
        group = [row for row in rows if row["have"] == have]
        counted = Counter(row["verdict"] for row in group)
        names = ("as it came", "picked", "best end", "best")
        yield {
            "have": have,
            "pairs": len(group),
            **{name: round(mean(row[name] for row in group), 1) for name in names},
            "near": sum(row["near"] for row in group),
            **{name: counted[name] for name in VERDICTS},
            "worst": round(min(row["picked"] - row["as it came"] for row in group), 1),
            "protocol": "all pairs",
        }
