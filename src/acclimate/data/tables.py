"""Tables in files, as columns: CSV, JSON lines, Parquet, npz."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acclimate.data.batch import DataError
from acclimate.data.labels import as_tensor

__all__ = ["TABLES", "Table"]

Table = dict[str, Any]
"""Columns by name: a tensor where every row is a number, or an array of one shape; else a list."""


def read_csv(path: Path) -> Table:
    """Comma-separated values with a first line of names."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, strict=True)
        try:
            names = next(lines, [])
            rows = [(lines.line_num, row) for row in lines if row]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path} is no CSV at line {lines.line_num}: {error}") from error
    if len(set(names)) < len(names) or not all(names):
        raise DataError(f"the first line of {path} must name every column, each differently: it is {','.join(names)!r}")
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(f"line {line} of {path} has {len(row)} fields, and the first line names {len(names)}")
    columns: Table = {}
    for i, name in enumerate(names):
        texts = [row[i] for _, row in rows]
        filled = [text for text in texts if text.strip()]
        found = _numbers(filled)
        if found is not None and len(filled) < len(texts):
            line = next(line for line, row in rows if not row[i].strip())
            raise DataError(
                f"line {line} of {path} has no {name!r}, which is a number elsewhere: fill it or leave the line out"
            )
        columns[name] = texts if found is None else found
    return columns


def _numbers(texts: list[str]) -> torch.Tensor | None:
    """Texts that all read as whole numbers, or all as numbers, as a tensor of them."""
    for kind, dtype in ((int, torch.int64), (float, torch.get_default_dtype())):
        try:
            return torch.tensor([kind(text) for text in texts], dtype=dtype) if texts else None
        except (ValueError, OverflowError, RuntimeError):
            continue
    return None


def read_json_lines(path: Path) -> Table:
    """One JSON object a line, each with the same names."""
    rows: list[dict[str, Any]] = []
    for line, text in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"line {line} of {path} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"line {line} of {path} is a {type(row).__name__}: each line must be one object")
        if rows and set(row) != set(rows[0]):
            other = sorted(set(row) ^ set(rows[0]))[0]
            raise DataError(
                f"line {line} of {path} and its first line differ in {other!r}: every line needs the same names"
            )
        rows.append(row)
    return {name: _values([row[name] for row in rows], path, name) for name in (rows[0] if rows else ())}


def read_parquet(path: Path) -> Table:
    """An Apache Parquet file, by pyarrow."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError("Parquet is read by pyarrow, which is not installed: pip install 'acclimate[data]'") from error
    try:
        columns = pyarrow.parquet.read_table(path).to_pydict()
    except pyarrow.ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file: {error}") from error
    return {name: _values(values, path, name) for name, values in columns.items()}


def _values(values: Sequence[Any], path: Path, name: str) -> Any:
    if None in values:
        raise DataError(f"row {values.index(None)} of column {name!r} in {path} is empty: fill it or leave the row out")
    found = as_tensor(values)
    return values if found is None else found


def read_npz(path: Path) -> Table:
    """Arrays by name, of numbers or of texts; a pickled array is refused."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise DataError(f"{path} is a single array: save named arrays with numpy.savez")
            columns = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no npz file of plain arrays: {error}") from error
    found = {name: as_tensor(array) for name, array in columns.items()}
    return {name: columns[name].tolist() if tensor is None else tensor for name, tensor in found.items()}


TABLES: dict[str, Callable[[Path], Table]] = {
    ".csv": read_csv,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".npz": read_npz,
}
"""How a file is read, by the end of its name."""
