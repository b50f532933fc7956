"""What all plots of a page have in common: shares in per cent, hairlines, and nothing else around the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from acclimate.report.colours import INK, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["NARROW", "POINTS", "SIZE", "WIDE", "empty", "finish", "percent", "width_of"]

SIZE = 9
"""Of all text, in points."""
POINTS = 72
WIDE, NARROW = 7.6, 4.3
"""A plot's width in inches on a screen and on a phone; the text is then as large as the page's small print."""


def empty(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of this size in inches and its only axes, with no background of their own."""
    from matplotlib.figure import Figure

    figure = Figure((width, height))
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def finish(axes: Axes, shares: Literal["x", "y"]) -> None:
    """Shares as per cent along one axis, hairlines across it, and every text as it was given."""
    from matplotlib.text import Text
    from matplotlib.ticker import PercentFormatter

    getattr(axes, f"{shares}axis").set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis=shares, color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SIZE, labelcolor=INK)
    for text in axes.findobj(Text):
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign


def percent(share: float) -> str:
    """
    >>> percent(0.125)
    '12.5 %'
    """
    return f"{100 * share:.1f} %"


def width_of(text: str) -> float:
    """About how wide a text is, in points."""
    return 5.4 * len(text) + 2
