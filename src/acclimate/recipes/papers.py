"""The catalogue of papers, and which of them work here.

    works    a committed result of a recipe that names the paper passed, its control failed, and it is not stale
    off      the catalogue says that there is nothing to adapt, and why
    planned  every other

A result is stale once the sources it rests on have changed. Nothing but ``results.json`` makes a paper work.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any, Literal, Protocol

__all__ = ["Paper", "PaperError", "Status", "papers", "tally"]

Status = Literal["works", "planned", "off"]


class PaperError(ValueError):
    """A recipe names a paper that the catalogue lacks."""


class Naming(Protocol):
    """What the catalogue asks of a recipe."""

    @property
    def papers(self) -> tuple[str, ...]: ...

    def sources(self) -> str: ...


@dataclass(frozen=True)
class Paper:
    """One row of the catalogue. ``recipes`` are those that name it, ``reason`` says why an ``off`` row is off."""

    id: str
    title: str
    wing: str
    family: str
    fit: str
    status: Status
    recipes: tuple[str, ...] = ()
    reason: str = ""


def papers(
    table: Mapping[str, Naming] | None = None, measured: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Paper]:
    """The whole catalogue in its order. ``table`` are recipes by name, ``measured`` results by recipe; by default
    those of this package. A paper without a proven recipe does not work:

    >>> from collections import Counter
    >>> sorted(Counter(paper.status for paper in papers({}, {})).items())
    [('off', 21), ('planned', 427)]

    Raises `PaperError` where a recipe names a title that is not in the catalogue.
    """
    if table is None:
        from acclimate.recipes.recipe import all_recipes

        table = all_recipes()
    rows = json.loads(files("acclimate.recipes").joinpath("papers.json").read_text(encoding="utf-8"))
    naming: dict[str, list[str]] = {row["title"]: [] for row in rows}
    for name, recipe in table.items():
        for title in recipe.papers:
            if title not in naming:
                near = get_close_matches(title, naming, n=2, cutoff=0.4)
                raise PaperError(
                    f"the recipe {name!r} names the paper {title!r}, which the catalogue does not have; "
                    f"nearest: {', '.join(map(repr, near)) or 'nothing'}"
                )
            naming[title].append(name)
    if measured is None:
        from acclimate.recipes.verify import results

        measured = results()
    proven = _proven(table, measured)
    return [
        Paper(**row, recipes=tuple(naming[row["title"]]), status=_status(row["fit"], naming[row["title"]], proven))
        for row in rows
    ]


def tally(catalogue: Iterable[Paper]) -> dict[str, Counter[Status]]:
    """How many papers of each wing have each status; the largest wing first.

    >>> tally(papers({}, {}))["deltas"]
    Counter({'planned': 69})
    """
    wings: dict[str, Counter[Status]] = {}
    for paper in catalogue:
        wings.setdefault(paper.wing, Counter())[paper.status] += 1
    return dict(sorted(wings.items(), key=lambda item: -item[1].total()))


def _proven(table: Mapping[str, Naming], measured: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {
        name
        for name, result in measured.items()
        if name in table
        and result.get("passed") is True
        and result.get("control_failed") is True
        and result.get("sources") == table[name].sources()
    }


def _status(fit: str, named_by: list[str], proven: set[str]) -> Status:
    if fit == "off":
        return "off"
    return "works" if proven.intersection(named_by) else "planned"
