"""The page `docs/streams.md`: every stream method as its row of parts, and what of the suites is not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from acclimate.loops import Adaptation
from acclimate.methods import LAME, T3A, BatchPrior
from acclimate.methods.statistics import Statistics
from acclimate.players import Filter, PriorCorrection, Teacher
from acclimate.players.resets import Every, LowLoss
from acclimate.recipes.recipe import recipe
from acclimate.recipes.streams.peers import PEERS

__all__ = ["stream_page"]

COLUMNS = (
    "statistics", "filter", "loss", "trained", "rule", "memory", "teacher", "correction", "reset", "beside", "answers",
)  # fmt: skip


def stream_page() -> str:
    """The page as text."""
    lines = [
        "# Methods on a stream",
        "",
        "Generated from the code by `python scripts/write_pages.py`; a test holds it to be up to date.",
        "",
        "A method on a stream is a row of independent parts, and any row may be given: `acc.stream(model, Adaptation(...))`.",
        'The first is our own; the others are the rows of two suites, with their defaults: `acc.stream(model, acc.recipe("eta"))`.',
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for name in ("adaptive", *(peer.ours for peer in PEERS if peer.ours)):
        parts = _parts(recipe(name).adaptation)
        lines.append(f"| `{name}` | {' | '.join(parts[column] for column in COLUMNS)} |")
    lines += ["", "## What the suites call it", "", "| name | suite | here | note |", "|---|---|---|---|"]
    for peer in PEERS:
        lines.append(
            f"| {peer.name} | {peer.suites} | {f'`{peer.ours}`' if peer.ours else 'not here'} | {peer.note or '-'} |"
        )
    return "\n".join([*lines, ""])


def _parts(row: Adaptation) -> dict[str, str]:
    corrections = [m for m in row.method if isinstance(m, LAME | T3A | BatchPrior)]
    statistics = [m for m in row.method if isinstance(m, Statistics)]
    trained = {m: at for m, at in row.method.items() if m not in corrections and m not in statistics}
    left = list(row.players)
    sorts: dict[str, Any] = {
        "correction": PriorCorrection,
        "filter": Filter,
        "teacher": Teacher,
        "reset": (Every, LowLoss),
    }
    found: dict[str, list[Any]] = {}
    for name, kinds in sorts.items():
        found[name] = [player for player in left if isinstance(player, kinds)]
        left = [player for player in left if player not in found[name]]
    found["memory"] = [player for player in left if player.remembers]
    found["beside"] = [player for player in left if not player.remembers]
    found["correction"] = [*corrections, *found["correction"]]
    found["statistics"] = statistics
    said = {name: _said(values) for name, values in found.items()}
    terms = [] if row.loss is None else list(row.loss.terms())
    said["loss"] = " + ".join(
        f"{weight:g} `{_short(term)}`" if weight != 1 else f"`{_short(term)}`" for weight, term in terms
    )
    said["trained"] = ", ".join(f"`{_short(m)}` at {getattr(at, '__name__', at)}" for m, at in trained.items())
    said["rule"] = "" if row.rule is None else f"`{_short(row.rule)}`"
    said["answers"] = row.answer
    return {name: text.replace("|", "\\|") or "-" for name, text in said.items()}


def _said(values: Iterable[Any]) -> str:
    return ", ".join(f"`{_short(value)}`" for value in values)


def _short(value: Any) -> str:
    """A value with the settings that are not the defaults."""
    if not dataclasses.is_dataclass(value):
        return getattr(value, "__name__", None) or repr(value)
    shown = [(f, getattr(value, f.name)) for f in dataclasses.fields(value)]
    own = [f"{f.name}={_short(v)}" for f, v in shown if not _default(f, v)]
    return f"{type(value).__name__}({', '.join(own)})"


def _default(field: dataclasses.Field[Any], value: Any) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(value == field.default_factory())
    return bool(value == field.default)
