"""One HTML file that holds everything it shows: no script, no font and no image from elsewhere."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from numbers import Real
from string import Template
from typing import Any

from acclimate.report.axes import NARROW, WIDE
from acclimate.report.colours import BASELINES, palette, themed, variables
from acclimate.report.section import Code, Figures, Plot, Section, Table, Text
from acclimate.report.svg import svg

__all__ = ["page"]


def page(title: str, sections: Sequence[Section]) -> str:
    """The file's text. A method has one colour in all plots and tables of the page.

    >>> page("Digits", [Text("A stream that changes.")]).count("<p>A stream that changes.</p>")
    1
    """
    plots = [section for section in sections if isinstance(section, Plot)]
    tables = [section.baseline for section in sections if isinstance(section, Table) and section.baseline]
    colours = palette([name for plot in plots for name in plot.names], {*BASELINES, *tables})
    light, dark = variables()
    return _template().substitute(
        title=escape(title),
        light=light,
        dark=dark,
        body="\n".join(_written(section, colours) for section in sections),
    )


@cache
def _template() -> Template:
    return Template(files("acclimate.report").joinpath("page.html").read_text(encoding="utf-8"))


def _written(section: Section, colours: Mapping[str, str]) -> str:
    match section:
        case Text():
            heading = f"<h2>{_inline(section.heading)}</h2>\n" if section.heading else ""
            paragraphs = [part.strip() for part in re.split(r"\n\s*\n", section.body) if part.strip()]
            return heading + "\n".join(f"<p>{_inline(paragraph)}</p>" for paragraph in paragraphs)
        case Figures():
            return f'<dl class="numbers">{"".join(map(_number, section.numbers))}</dl>'
        case Table():
            return _table(section, colours)
        case Plot():
            return f'<figure class="plot">{_drawn(section, colours)}{_caption(section.caption)}</figure>'
        case Code():
            return f"<figure><pre><code>{escape(section.text)}</code></pre>{_caption(section.caption)}</figure>"
    raise TypeError(f"a page is made of Text, Figures, Table, Plot and Code, not of {type(section).__name__}")


def _drawn(plot: Plot, colours: Mapping[str, str]) -> str:
    """The plot as the screen wants it: wide, and narrow on a phone; a finished figure scrolls there."""
    alt = plot.alt or plot.caption
    if not callable(plot.figure):
        return f'<div class="scroll">{svg(plot.figure, alt)}</div>'
    wide, narrow = (svg(plot.figure(colours, width), alt) for width in (WIDE, NARROW))
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def _inline(text: str) -> str:
    """Escaped text, with what stands between backticks as code.

    >>> _inline("run `a < b`")
    'run <code>a &lt; b</code>'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _caption(text: str) -> str:
    return f"<figcaption>{_inline(text)}</figcaption>" if text else ""


def _number(number: Any) -> str:
    beside = f'<dd class="beside">{_inline(number.beside)}</dd>' if number.beside else ""
    return f'<div><dt>{_inline(number.label)}</dt><dd class="value">{escape(number.value)}</dd>{beside}</div>'


def _table(table: Table, colours: Mapping[str, str]) -> str:
    numeric = {c for c in table.columns if any(_is_number(row.get(c)) for row in table.rows)}
    best = {column: _extreme(table, column) for column in table.best}
    head = "".join(f'<th scope="col"{_classes(n=c in numeric)}>{_inline(c)}</th>' for c in table.columns)
    named = zip(table.rows, table.names, strict=True)
    body = "\n".join(_row(table, row, name, colours, numeric, best) for row, name in named)
    return (
        f'<figure><div class="scroll"><table{_classes(many=len(table.columns) > 8)}><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>{_caption(table.caption)}</figure>"
    )


def _row(
    table: Table,
    row: Mapping[str, Any],
    name: str,
    colours: Mapping[str, str],
    numeric: set[str],
    best: Mapping[str, float | None],
) -> str:
    first, *others = table.columns
    base = name == table.baseline
    dot = f'<span class="dot" style="background:{themed(colours[name])}"></span>' if name in colours else ""
    tag = '<span class="tag">unadapted</span>' if base and name != "unadapted" else ""
    cells = f'<th scope="row">{dot}{_inline(_shown(row.get(first), table.formats.get(first)))}{tag}</th>'
    for column in others:
        value = row.get(column)
        marked = _is_number(value) and best.get(column) is not None and value == best[column]
        shown = _inline(_shown(value, table.formats.get(column)))
        cells += f"<td{_classes(n=column in numeric, best=marked)}>{shown}</td>"
    return f"<tr{_classes(base=base)}>{cells}</tr>"


def _classes(**given: bool) -> str:
    names = " ".join(name for name, wanted in given.items() if wanted)
    return f' class="{names}"' if names else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _extreme(table: Table, column: str) -> float | None:
    values = [row[column] for row in table.rows if _is_number(row.get(column)) and math.isfinite(row[column])]
    if not values:
        return None
    return max(values) if table.best[column] == "max" else min(values)


def _shown(value: Any, form: str | None) -> str:
    """A cell as text; nothing is a dash.

    >>> [_shown(v, f) for v, f in ((None, None), (1234, None), (0.125, ".1%"), (2_300_000, "bytes"), (True, None))]
    ['–', '1,234', '12.5 %', '2.3 MB', 'yes']
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value)
    if form == "bytes":
        return _size(float(value))
    text = format(value, form or ("," if isinstance(value, int) else ".4g"))
    return f"{text[:-1]} %" if text.endswith("%") else text


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
