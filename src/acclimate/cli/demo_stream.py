"""The demo's second job: a digit reader meets changing conditions, with nothing but the stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

import acclimate as acc
from acclimate.bench.conditions import Stream, stream
from acclimate.bench.convnet import pretrained
from acclimate.report import Section, Table, Text, curve
from acclimate.report.curve import Band

__all__ = ["changed_world"]

SEVERITY, BATCH, SEED = 0.5, 50, 0
ORDERS = ("shuffled", "sorted")
METHODS: dict[str, dict[str, Any]] = {"tent": {}, "lame": {}, "cotta": {"views": 4}}  # 32 looks take 5 times as long
FROZEN = "unadapted"


def changed_world(out: Path) -> tuple[list[dict[str, Any]], list[Section]]:
    """Rows for the table and sections for the report; the adapters' files are left in the folder."""
    from tqdm import tqdm

    ways = [(FROZEN, False), *((name, guard) for guard in (False, True) for name in METHODS)]
    series: dict[str, dict[str, list[float]]] = {order: {} for order in ORDERS}
    events: list[str] = []
    with tqdm(total=len(ways) * len(ORDERS), desc="   streams", leave=False) as bar:
        for order in ORDERS:
            world = stream(order, SEVERITY, BATCH, SEED)  # type: ignore[arg-type]
            for name, guard in ways:
                row = _called(name, guard)
                path = out / f"{name}-{order}.safetensors" if guard else None
                series[order][row], told = _accuracies(world, name, guard, path)
                events += [f"{order}, {row}: {each}" for each in told]
                bar.update()
    rows = [{"method": name, **{order: _mean(series[order][name]) for order in ORDERS}} for name in series[ORDERS[0]]]
    return rows, _sections(rows, series, events)


def _called(name: str, guard: bool) -> str:
    return name if name == FROZEN else f"{name}, guarded" if guard else name


def _accuracies(world: Stream, name: str, guard: bool, path: Path | None) -> tuple[list[float], list[str]]:
    """The accuracy on each batch of a stream, and what the guard said."""
    model: nn.Module = pretrained()
    if name == FROZEN:
        return [float((acc.predict(model, (m.images,)).argmax(-1) == m.labels).float().mean()) for m in world], []
    found: list[float] = []
    with acc.stream(model, acc.recipe(name, **METHODS[name]), guard=guard, seed=SEED) as live:
        for moment in world:
            found.append(float((live(moment.images).argmax(-1) == moment.labels).float().mean()))
        told = [f"batch {e.step}: {e.kind} ({e.why})" for e in live.events] if guard else []
        if path is not None and list(live.adapter.tensors()):
            live.adapter.save(path)
    return found, told


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _sections(
    rows: list[dict[str, Any]], series: dict[str, dict[str, list[float]]], events: list[str]
) -> list[Section]:
    world = stream("shuffled", SEVERITY, BATCH, SEED)
    names = [moment.condition for moment in world]
    bands: list[Band] = [(n, names.index(n), len(names) - names[::-1].index(n)) for n in dict.fromkeys(names)]
    sections: list[Section] = [
        Text(
            "A convnet for scikit-learn's handwritten digits meets seven conditions in a row, and no label. "
            f"Severity {SEVERITY}, batches of {BATCH}, seed {SEED}, adapted without a reset (CoTTA looks "
            f"{METHODS['cotta']['views']} times where the paper does 32), once with mixed classes and once with all of a "
            "class before the next. The guard answers from the unadapted model until the adapted one has shown itself, "
            "and takes it back when it harms.",
            "A world that changed, and no labels",
        ),
        Table(rows, best=dict.fromkeys(ORDERS, "max"), baseline=FROZEN, formats=dict.fromkeys(ORDERS, ".1%")),
    ]
    for order in ORDERS:
        shown = {n: v for n, v in series[order].items() if n == FROZEN or "guarded" in n}
        sections.append(curve(shown, bands, window=3, caption=f"{order}, guarded"))
        plain = {n: v for n, v in series[order].items() if "guarded" not in n}
        sections.append(curve(plain, bands, window=3, caption=f"{order}, unguarded"))
    told = "\n\n".join(events) if events else "The guard had nothing to say."
    return [*sections, Text(told, "What the guard said")]
