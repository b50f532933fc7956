"""The parts of a page, as plain frozen values: `Text`, `Figures`, `Table`, `Plot` and `Code`.

Whatever they hold is escaped when the page is written; between backticks it is set as code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Code", "Figures", "Number", "Plot", "Section", "Table", "Text"]


@dataclass(frozen=True)
class Text:
    """Paragraphs, parted by an empty line, under a heading if there is one."""

    body: str = ""
    heading: str = ""


@dataclass(frozen=True)
class Number:
    """A value that deserves to be large, what it is, and what it stands beside.

    >>> Number("93.1 %", "accuracy with LoRA", "61.0 % unadapted").value
    '93.1 %'
    """

    value: str
    label: str
    beside: str = ""


@dataclass(frozen=True)
class Figures:
    """Large numbers in a row."""

    numbers: Sequence[Number]


@dataclass(frozen=True)
class Table:
    """Rows by column; the first column names the row.

    ``best`` says of a column whether its ``max`` or its ``min`` is marked, ties included, the unadapted row
    included. ``baseline`` is the name of the unadapted row. ``formats`` are format specifications by column, such
    as ``".1%"`` or ``","``; ``"bytes"`` writes a size. Columns are those of all rows, in the order of first mention.

    >>> Table([{"method": "unadapted", "right": 0.5}, {"method": "lora", "right": 0.9}], best={"right": "max"}).columns
    ('method', 'right')
    """

    rows: Sequence[Mapping[str, Any]]
    best: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)
    baseline: str | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    caption: str = ""

    def __post_init__(self) -> None:
        for what, named in (("best", self.best), ("formats", self.formats)):
            for column in named:
                if column not in self.columns:
                    raise ValueError(f"{what}= names the column {column!r}: there are {', '.join(self.columns)}")
        if self.baseline is not None and self.baseline not in self.names:
            raise ValueError(f"baseline={self.baseline!r} is no row: there are {', '.join(self.names)}")

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for row in self.rows for column in row))

    @property
    def names(self) -> tuple[str, ...]:
        """What the first column says of each row."""
        return tuple(str(row.get(self.columns[0], "")) for row in self.rows)


@dataclass(frozen=True)
class Plot:
    """A matplotlib figure, or a function that draws one: in the page's colours for ``names``, at a width in inches.

    What is drawn by a function is drawn for wide screens and for phones. ``alt`` says in words what is to be seen.
    """

    figure: Figure | Callable[[Mapping[str, str], float], Figure]
    names: Sequence[str] = ()
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to be typed or read, as they are."""

    text: str
    caption: str = ""


Section = Text | Figures | Table | Plot | Code
