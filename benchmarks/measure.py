"""Timing two ways of the same work by turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Row", "alone", "by_turns", "table"]


@dataclass(frozen=True)
class Row:
    """One line of the table: what was done, ours and the peer's in ``unit`` (nan: it has none), and the aim in words.

    ``met`` is None where the peer is not installed; ``floor`` is what the work cannot take less than here: the base alone.
    """

    work: str
    ours: float
    peer: float
    unit: str
    aim: str
    met: bool | None
    floor: float = math.nan

    def plain(self) -> dict[str, Any]:
        """As JSON, which has no nan."""
        return {name: None if value != value else value for name, value in asdict(self).items()}

    @staticmethod
    def of(plain: dict[str, Any]) -> Row:
        return Row(**plain | {name: math.nan for name in ("peer", "floor") if plain[name] is None})

    @property
    def ratio(self) -> float:
        return self.peer / self.ours


def by_turns(ours: Callable[[], object], peer: Callable[[], object], rounds: int = 15) -> tuple[float, float]:
    """Median seconds of each, run alternately after one round that does not count."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for place, work in enumerate((ours, peer)):
            began = time.perf_counter()
            work()
            if number:
                taken[place].append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


def alone(work: Callable[[], object], rounds: int = 15) -> float:
    """Median seconds of what has no peer."""
    return by_turns(work, lambda: None, rounds)[0]


def table(rows: list[Row]) -> str:
    lines = ["| work | acclimate | peft, unless said | ratio | floor | aim | met |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        met = {True: "yes", False: "no", None: "not measured"}[row.met]
        peer, ratio = ("-", "-") if math.isnan(row.peer) else (f"{row.peer:.4g} {row.unit}", f"{row.ratio:.2f}x")
        floor = "-" if math.isnan(row.floor) else f"{row.floor:.4g} {row.unit}"
        lines.append(f"| {row.work} | {row.ours:.4g} {row.unit} | {peer} | {ratio} | {floor} | {row.aim} | {met} |")
    return "\n".join(lines)
