"""A table is filled once: what was kept is not measured again, whatever cut it off."""

from __future__ import annotations

from pathlib import Path

import pytest

from acclimate.bench.filled import Cell, Row, filled

CELLS = [("a", "1"), ("b", "1"), ("a", "2")]


def named(cell: Cell) -> Row:
    return {"name": " ".join(cell), "error": 0.1 + 0.2}


def silent(line: str) -> None:
    pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_rows_stand_in_the_order_of_their_cells(jobs: int, tmp_path: Path) -> None:
    assert filled(CELLS, named, tmp_path / "new" / "rows.jsonl", jobs, silent) == [named(cell) for cell in CELLS]


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    asked: list[Cell] = []

    def breaks(cell: Cell) -> Row:
        asked.append(cell)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return named(cell)

    path = tmp_path / "rows.jsonl"
    with pytest.raises(KeyboardInterrupt):
        filled(CELLS, breaks, path, say=silent)
    path.write_text(path.read_text()[:-9])  # killed while it wrote its second row
    assert filled(CELLS, breaks, path, say=silent) == [named(cell) for cell in CELLS]
    assert asked == [*CELLS, *CELLS[1:]]
    assert filled(CELLS, breaks, path, say=silent) == [named(cell) for cell in CELLS] and len(asked) == 5


def test_rows_of_other_versions_are_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    filled(CELLS, named, path, say=silent)
    monkeypatch.setattr("acclimate.bench.filled._versions", lambda: ["0", "0"])
    assert filled(CELLS, lambda cell: {"name": "anew"}, path, say=silent)[0] == {"name": "anew"}


def test_what_is_no_table_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"holds no rows of a table .* delete it"):
        filled(CELLS, named, tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match="give at least 1"):
        filled(CELLS, named, jobs=0)
