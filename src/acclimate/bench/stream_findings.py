"""What the field says of streams, held against what was measured: for each network a sentence, whether it holds or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["findings"]

STATISTICS, NEAR, FAR = "batch statistics", 1.0, 10.0
"""Points: how near the best is near enough, and how much more error is far more."""
Errors = dict[tuple[str, str], float]
"""By order and method."""


def findings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences about each task whose errors in percent are known.

    >>> row = {"task": "digits", "order": "shuffled", "protocol": "noise; error; seeds 0"}
    >>> findings([{**row, "method": "unadapted", "error": 50.0}, {**row, "method": "batch statistics", "error": 20.0}])
    ['digits: holds: batch statistics are better than the source on mixed classes (20.0 against 50.0)']
    """
    said = []
    for task in dict.fromkeys(row["task"] for row in rows if "; error; " in str(row["protocol"])):
        own = [row for row in rows if row["task"] == task and row["error"] is not None]
        for sentence, holds in _known({(row["order"], row["method"]): float(row["error"]) for row in own}):
            said.append(f"{task}: {'holds' if holds else 'does not hold'}: {sentence}")
    return said


def _known(errors: Errors) -> list[tuple[str, bool]]:
    found = []
    cotta = next((method for _, method in errors if method.startswith("cotta")), "cotta")
    for sentence, order, method, against, least in (
        ("batch statistics are better than the source on mixed classes", "shuffled", STATISTICS, "unadapted", 0.0),
        ("Tent is at or under batch statistics on mixed classes", "shuffled", "tent", STATISTICS, 0.0),
        ("LAME harms on mixed classes", "shuffled", "unadapted", "lame", 0.0),
        ("CoTTA is alive after all conditions, under the source", "shuffled", cotta, "unadapted", 0.0),
        ("RoTTA is alive after all conditions, under the source", "shuffled", "rotta", "unadapted", 0.0),
        ("Tent, guarded, is no worse than the source in runs", "correlated", "tent, guarded", "unadapted", -NEAR),
        ("adaptive, guarded, is better than the source in runs", "correlated", "adaptive, guarded", "unadapted", 0.0),
    ):
        if (order, method) in errors and (order, against) in errors:
            mine, other = errors[order, method], errors[order, against]
            found.append((f"{sentence} ({mine:.1f} against {other:.1f})", mine <= other - least))
    if ("shuffled", "tent") in errors and ("correlated", "tent") in errors:
        mixed, runs = errors["shuffled", "tent"], errors["correlated", "tent"]
        said = f"Tent is far worse where classes come in runs ({runs:.1f} against {mixed:.1f} where they are mixed)"
        found.append((said, runs >= mixed + FAR))
    found += _best(errors, "correlated", "lame", 0.0, "is best in runs")
    for order in dict.fromkeys(order for order, _ in errors):
        found += _best(errors, order, "adaptive", NEAR, f"is within a point of the best, {order}")
    return found


def _best(errors: Errors, order: str, method: str, near: float, said: str) -> list[tuple[str, bool]]:
    here = {name: error for (place, name), error in errors.items() if place == order}
    if method not in here or len(here) < 3:
        return []
    best = min(here, key=lambda name: here[name])
    return [(f"{method} {said} ({here[method]:.1f}; {best} {here[best]:.1f})", here[method] <= here[best] + near)]
