"""Methods on pairs of real domains, and what is picked of them where nobody has the target's labels."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from acclimate.bench.deep_peers import AT_EQUAL_SETTINGS, beside_peers
from acclimate.bench.domain_tasks import DomainTask, domain_tasks
from acclimate.choose import Report, Selection, select
from acclimate.choose.advice import TOGETHER, fitting
from acclimate.choose.validators import validators
from acclimate.data import Batches

__all__ = ["OPTIONS", "PROTOCOL", "means", "measure", "tried", "ways"]

OPTIONS = ("small", "cost")
"""What `acclimate bench` may ask beside the folder: the bones alone, one seed, few methods; the peers beside us on digits."""
SEEDS = (0, 1, 2)
SHARE, MOMENTS, BATCH = 0.1, 4, 64
WAYS = ("self-ensembling", "mcc", "bnm", "coral", "dann", "mcd", "afn")
"""One of each kind that docs/domains.md lists; all of them on all pairs would take hours."""
FEW = WAYS[:4]
BY = (TOGETHER, ("MutualInformation",), ("MeanEntropy",), ("SourceAccuracy",), ("ThresholdedConfidence",))
"""Who picks: two validators together, which were fixed on other digits before anything here was seen, and some alone."""
PROTOCOL = (
    "accuracy in percent on the whole target, which is adapted on without its labels; every way from the same network and for as "
    f"many epochs, batches of {BATCH} a domain, {100 * SHARE:.0f} % of the source kept back for validators; methods at their "
    "defaults. "
    "`last` is the end of the run, `best step` the best moment of it, which only labels find; mean over the seeds, and how far the "
    "best seed is from the worst. `source only` is the unadapted model. A way that is below it in its mean is negative transfer"
)


def ways(task: DomainTask, small: bool = False) -> dict[str, Any]:
    """The sentences that are compared, for as long as the task says; views of images only where there are images."""
    recipes = importlib.import_module("acclimate.recipes.recipe")  # above this floor, and nothing of it is used here
    found = {}
    for name in FEW if small else WAYS:
        each = recipes.recipe(name)
        if task.images or not {"augmentation", "augmentations"} & set(each.defaults):
            found[name] = each.using(epochs=task.epochs).made
    return found


def measure(
    data: Path,
    small: bool = False,
    cost: bool = False,
    seeds: Sequence[int] = SEEDS,
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """For each pair a row a way, and a row for each who picks; or, of ``cost``, a row a method that the peers have too."""
    rows = []
    if cost:
        for task in itertools.islice(domain_tasks(data), 2):
            found = beside_peers(task, seeds[:1] if small else seeds, say)
            rows += [{**row, "protocol": f"{task.name}, {task.epochs} epochs; {AT_EQUAL_SETTINGS}"} for row in found]
        return rows
    for task in domain_tasks(data, small):
        of_task = tried(task, ways(task, small), seeds[:1] if small else seeds, say)
        rows += [{**row, "protocol": f"{task.name}, {task.epochs} epochs"} for row in of_task]
    return [*means(rows), *rows]


def means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The means over the pairs of a kind, of what was measured on each of them; first of all rows, for who looks."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        if row["last"] is not None:
            found.setdefault(row["protocol"].partition(",")[0], {}).setdefault(row["method"], []).append(row)
    told = []
    for kind, methods in found.items():
        pairs = max(len(each) for each in methods.values())
        for method, each in methods.items():
            if len(each) == pairs:
                base = [row["last"] for row in methods["source only"]]
                below = sum(row["last"] < start for row, start in zip(each, base, strict=True))
                told.append(
                    {
                        "method": method,
                        "last": round(mean(row["last"] for row in each), 1),
                        "below source only": below,
                        "protocol": f"{kind}: mean over {pairs} pairs",
                    }
                )
    return told


def tried(
    task: DomainTask, made: Mapping[str, Any], seeds: Sequence[int], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The rows of one pair. A way that refuses the network or the data has no number, and why is said."""
    reports, seconds = [], {}
    source, target = (Batches(*rows, size=BATCH, seed=seeds[0]) for rows in (task.source, task.target))
    refused = fitting(task.make(seeds[0]), made, target, source)[1]
    for seed in seeds:
        source, target = (Batches(*rows, size=BATCH, seed=seed) for rows in (task.source, task.target))
        times = [time.perf_counter()]

        def tell(name: str, seed: int = seed, times: list[float] = times) -> None:
            times.append(time.perf_counter())
            seconds[name] = times[-1] - times[-2]
            say(f"{task.name}, seed {seed}, {name}: {seconds[name]:.0f} s")

        left = {name: each for name, each in made.items() if name not in refused}
        readers = {name: validators()[name]() for name in dict.fromkeys(name for names in BY for name in names)}
        found = select(
            task.make(seed), left, target, source,
            validators=readers, moments=MOMENTS, share=SHARE, seed=seed, progress=tell,
        )  # fmt: skip
        reports.append((found, found.report(task.target)))
    return _rows(reports, seconds, refused)


def _rows(
    reports: Sequence[tuple[Selection, Report]], seconds: Mapping[str, float], refused: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Ways first, from the best to the worst at the end of their runs; then who picks, and what labels alone could find."""
    base = mean(report.last["source_only"] for _, report in reports)
    names = sorted(seconds, key=lambda name: -mean(report.last[name] for _, report in reports))
    rows = []
    for name in ["source_only", *(name for name in names if name != "source_only")]:
        last = [100 * report.last[name] for _, report in reports]
        best = [
            100 * max(a for trial, a in zip(found.trials, report.accuracy, strict=True) if trial.candidate == name)
            for found, report in reports
        ]
        why = "negative transfer" if mean(last) < 100 * base else ""
        rows.append(_row(name, last, best, seconds.get(name), why if name != "source_only" else "the unadapted model"))
    for by in BY:
        picked = [found.trials.index(found.pick(*by)) for found, _ in reports]
        values = [100 * report.accuracy[number] for number, (_, report) in zip(picked, reports, strict=True)]
        ranks = [report.correlation[by[0]] for _, report in reports] if len(by) == 1 else []
        chosen = ", ".join(
            dict.fromkeys(found.trials[n].candidate for n, (found, _) in zip(picked, reports, strict=True))
        )
        rank = f"; rank correlation {mean(ranks):.2f}" if ranks else ""
        rows.append(_row(f"picked by {' and '.join(by)}", values, None, None, f"{chosen}{rank}"))
    oracle = [100 * report.oracle for _, report in reports]
    rows.append(_row("oracle, by the target's labels", oracle, oracle, None, ""))
    return [*rows, *(_row(name, None, None, None, why) for name, why in refused.items())]


def _row(
    name: str, last: Sequence[float] | None, best: Sequence[float] | None, seconds: float | None, note: str
) -> dict[str, Any]:
    return {
        "method": name.replace("_", " "),
        "last": None if last is None else round(mean(last), 1),
        "spread": None if last is None else round(max(last) - min(last), 1),
        "best step": None if best is None else round(mean(best), 1),
        "seconds": None if seconds is None else round(seconds, 1),
        "note": note,
    }
