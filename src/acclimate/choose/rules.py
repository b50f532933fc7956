"""Which rule for these adapters and this data? Each is tried, beside the single adapters and the unadapted model.

Rules are compared on one half of the rows and scored again on the other: the best of many looks better than it is where it was
chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from acclimate.compose import Average, Composition, Nearest, Rule, combine, compose
from acclimate.compose.combination.fisher import fisher
from acclimate.compose.combination.rule import NAMED
from acclimate.data import as_batches
from acclimate.engine import Adapter, MethodError, only
from acclimate.loops import Score, evaluate

__all__ = ["Tried", "try_rules"]


Way = Callable[[Sequence[Adapter]], Adapter]


@dataclass(frozen=True)
class Tried:
    """How a way of combining scored on the half that it was chosen on, and on the other; ``why`` it was not tried."""

    what: str
    chosen_on: Score | None
    held_out: Score | None
    why: str = ""


def try_rules(
    adapters: Sequence[Adapter],
    data: Any,
    rules: Mapping[str, Rule] | None = None,
    takes: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> list[Tried]:
    """The unadapted model, each adapter alone, each rule and some trees over all of them, in this order, on labelled data.

    The model is left with the adapters that it had. A rule that does not fit these adapters says why.
    """
    if len(adapters) < 2:
        raise MethodError(f"rules combine at least two adapters, and {len(adapters)} was given")
    model, names = adapters[0].model, [adapter.name for adapter in adapters]
    were = {adapter.name: adapter.enabled for adapter in adapters}
    halves = _halves(data, takes)
    found: list[Tried] = []

    def tried(what: str, *chosen: str) -> None:
        with only(model, *chosen):
            found.append(Tried(what, evaluate(model, halves[0]), evaluate(model, halves[1])))
        if progress is not None:
            progress(what)

    tried("unadapted")
    for name in names:
        tried(name, name)
    try:
        ways = {
            **{name: _by(rule, seed, halves[0]) for name, rule in (NAMED if rules is None else rules).items()},
            **_TREES,
        }
        for what, way in ways.items():
            try:
                made = way(adapters)
            except ValueError as error:
                found.append(Tried(what, None, None, str(error)))
                continue
            tried(what, made.name)
            made.detach()
    finally:
        for adapter in adapters:
            (adapter.enable if were[adapter.name] else adapter.disable)()
    return found


def _by(rule: Rule, seed: int, data: Any) -> Way:
    def way(adapters: Sequence[Adapter]) -> Adapter:
        matters = [fisher(adapter, data, seed=seed) for adapter in adapters] if rule.weigh == "fisher" else None
        return combine(adapters, rule, name="tried", seed=seed, importance=matters)

    return way


def _tree(node: type[Composition], **settings: Any) -> Way:
    return lambda each: compose(each[0].model, node(*(adapter.name for adapter in each), **settings), name="tried")


_TREES: dict[str, Way] = {
    "Average(...)": _tree(Average),
    "Nearest(..., by='arrow')": _tree(Nearest),
    "Nearest(..., by='arrow', top=1)": _tree(Nearest, top=1),
}


def _halves(data: Any, takes: Mapping[str, str] | None) -> tuple[list[Any], list[Any]]:
    batches = list(as_batches(data, takes))
    if len(batches) < 2:
        raise MethodError(f"the data has {len(batches)} batch: give at least two, one to choose on and one to score on")
    return [(b.inputs, b.labels) for b in batches[::2]], [(b.inputs, b.labels) for b in batches[1::2]]
