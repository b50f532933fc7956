"""Data by where it lies: a file, a folder of images, a name.

read("reviews.csv")   read("photos/")   read("digits:test")   read("package.module:function")   read("imdb:test")
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from acclimate.data.batch import DataError
from acclimate.data.images import read_images
from acclimate.data.tables import TABLES, Table

__all__ = ["BUILT_IN", "read"]

BUILT_IN = {"digits": "acclimate.bench.digits:columns", "docstrings": "acclimate.bench.docstrings:columns"}
"""Data that every machine has, by name: where the function is that makes it of "train" or "test"."""


def read(source: str | Path, *, size: tuple[int, int] | None = None, channels: int | None = None) -> Table:
    """The columns of a data set: tensors where rows are numbers, lists of texts, images opened as they are needed.

    ``source`` is a CSV, JSON lines, Parquet or npz file, a folder of images with a folder for each class, a built-in
    name or one of the ``datasets`` library (``name`` or ``name:split``, ``train`` when unsaid), or
    ``package.module:function`` of your own that returns columns. ``size`` (height, width) and ``channels`` are what
    images become. Labels keep their names here; `as_batches` numbers them.

    >>> sorted(read("digits:test"))
    ['image', 'label']
    """
    path = Path(source)
    image = {"size": size, "channels": channels}
    if path.is_dir():
        return _filled(read_images(path, size, channels), source)
    if any(image.values()):
        raise DataError(f"size and channels are for a folder of images, and {str(source)!r} is none")
    if path.is_file():
        if path.suffix.lower() not in TABLES:
            raise DataError(f"{source} ends in {path.suffix!r}: what can be read ends in {', '.join(TABLES)}")
        return _filled(TABLES[path.suffix.lower()](path), source)
    if path.suffix.lower() in TABLES or isinstance(source, Path):
        raise DataError(f"there is no file {source}")
    return _filled(_named(source), source)


def _filled(columns: Table, source: str | Path) -> Table:
    if not columns or not all(len(column) for column in columns.values()):
        raise DataError(f"{source} is empty: it has no row")
    return columns


def _named(source: str) -> Table:
    name, _, inner = source.partition(":")
    if name in BUILT_IN:
        module, _, function = BUILT_IN[name].partition(":")
        return _columns(getattr(importlib.import_module(module), function)(inner or "train"), source)
    if inner and _importable(name):
        made = getattr(importlib.import_module(name), inner, None)
        if not callable(made):
            raise DataError(f"the module {name} has no function {inner!r}")
        return _columns(made(), source)
    return _hub(source, name, inner or "train")


def _columns(made: Any, source: str) -> Table:
    if not isinstance(made, dict):
        raise DataError(f"{source} must return a dict of columns, and returned a {type(made).__name__}")
    return made


def _importable(name: str) -> bool:
    try:
        return all(part.isidentifier() for part in name.split(".")) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _hub(source: str, name: str, split: str) -> Table:
    known = ", ".join(sorted(BUILT_IN))
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{source!r} is no file, no folder and no built-in data ({known}): names of the datasets library need it "
            "installed (pip install datasets)"
        ) from error
    try:
        found = datasets.load_dataset(name, split=split)
    except Exception as error:
        raise DataError(f"{source!r} is no file, no built-in data ({known}), and datasets says: {error}") from error
    return {column: list(found[column]) for column in found.column_names}
