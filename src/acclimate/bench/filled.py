"""A table that is filled cell by cell, several at a time, and kept as it grows: what was cut off goes on where it stopped."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

__all__ = ["Cell", "Row", "filled"]

Cell = tuple[str, ...]
"""What a row is of, and under which protocol; no two rows of a table are of the same."""
Row = dict[str, Any]


def filled(
    cells: Sequence[Cell],
    measured: Callable[[Cell], Row],
    path: Path | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """A row for each cell, in their order, each kept in ``path`` as soon as it is there.

    Rows that ``path`` has already are not measured again, if they were measured with these versions of the package and of torch.
    With ``jobs`` more than 1, that many processes of one thread each measure at a time, and ``measured`` has to be picklable.

    >>> filled([("one",), ("two",)], lambda cell: {"name": cell[0]}, say=lambda line: None)
    [{'name': 'one'}, {'name': 'two'}]
    """
    if jobs < 1:
        raise ValueError(f"jobs={jobs} would measure nothing: give at least 1")
    found = _kept(path)
    due = [cell for cell in cells if cell not in found]
    if len(due) < len(cells):
        say(f"{len(cells) - len(due)} of {len(cells)} rows were in {path}: they are taken from there")

    def take(cell: Cell, row: Row) -> None:
        found[cell] = row
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"cell": cell, "by": _versions(), "row": row}) + "\n")
        say(f"{sum(cell in found for cell in cells)} of {len(cells)}: {', '.join(cell)}")

    if jobs == 1:
        for cell in due:
            take(cell, measured(cell))
        return [found[cell] for cell in cells]
    with ProcessPoolExecutor(jobs, get_context("spawn"), _one_thread) as pool:
        asked = {pool.submit(measured, cell): cell for cell in due}
        try:
            for done in as_completed(asked):
                take(asked[done], done.result())
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [found[cell] for cell in cells]


def _one_thread() -> None:
    torch.set_num_threads(1)


def _versions() -> list[str]:
    return [importlib.metadata.version("acclimate"), torch.__version__]


def _kept(path: Path | None) -> dict[Cell, Row]:
    """What was measured before; a last line that was cut off is as if it had never been begun."""
    if path is None or not path.exists():
        return {}
    *whole, rest = path.read_text(encoding="utf-8").split("\n")
    if rest:
        path.write_text("".join(f"{line}\n" for line in whole), encoding="utf-8")
    try:
        lines = [json.loads(line) for line in whole]
        return {tuple(line["cell"]): line["row"] for line in lines if line["by"] == _versions()}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no rows of a table ({error}): delete it to measure them anew") from error
