"""Shares as bars beside the unadapted model's."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from acclimate.report.axes import POINTS, SIZE, empty, finish, percent, width_of
from acclimate.report.colours import BASELINES, INK
from acclimate.report.curve import DASHED
from acclimate.report.section import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars"]

Group = Mapping[str, float]


def bars(
    values: Mapping[str, Mapping[str, float]] | Mapping[str, float], *, what: str = "accuracy", caption: str = ""
) -> Plot:
    """Shares between 0 and 1, a bar a method, or ``{group: {method: share}}`` for groups under one another.

    A dashed line carries the unadapted model's bar through its group. Raises `ValueError` where there is nothing, or
    a value that is no share.

    >>> bars({"unadapted": 0.5, "lora": 0.9}).alt
    'accuracy: unadapted 50.0 %, lora 90.0 %'
    """
    groups: dict[str, Group] = {title: group for title, group in values.items() if isinstance(group, Mapping)}
    alone = {name: share for name, share in values.items() if not isinstance(share, Mapping)}
    if alone:
        groups = {"": alone, **groups}
    if not groups or not all(groups.values()):
        raise ValueError(f"bars needs at least one value in each group: it was given {dict(values)}")
    for group in groups.values():
        for name, share in group.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name!r} is {share}: bars show shares between 0 and 1")
    names = tuple(dict.fromkeys(name for group in groups.values() for name in group))
    said = "; ".join(
        (f"{title}: " if title else "") + ", ".join(f"{name} {percent(share)}" for name, share in group.items())
        for title, group in groups.items()
    )
    return Plot(partial(_draw, groups, what), names, caption, f"{what}: {said}")


def _draw(groups: Mapping[str, Group], what: str, colours: Mapping[str, str], width: float) -> Figure:
    rows = sum(len(group) + (1.1 if title else 0) + 0.4 for title, group in groups.items())
    points, height = POINTS * width, 19 * rows + 34
    figure, axes = empty(width, height / POINTS)
    place = 0.0
    for title, group in groups.items():
        if title:
            place += 1.1
            axes.annotate(title, (0, place - 0.85), color=INK, fontsize=SIZE + 1, va="center")
        _group(axes, group, place, colours)
        place += len(group) + 0.4
    axes.set_ylim(place - 0.9, -0.6)
    axes.set_yticks([])
    axes.set_xlim(0, 1)
    axes.set_xlabel(what, fontsize=SIZE, color=INK, labelpad=3)
    axes.locator_params(axis="x", nbins=5)
    finish(axes, "x")
    left = min(max(width_of(name) for group in groups.values() for name in group) + 12, points / 2)
    figure.subplots_adjust(left=left / points, right=1 - 46 / points, top=0.99, bottom=34 / height)
    return figure


def _group(axes: Axes, group: Group, first: float, colours: Mapping[str, str]) -> None:
    for place, (name, share) in enumerate(group.items()):
        height, colour = first + place, colours[name]
        axes.barh(height, share, height=0.66, color=colour, zorder=2)
        kinds: list[tuple[str, float, float, dict[str, Any]]] = [
            (name, 0, -7, {"ha": "right", "color": colour, "fontweight": "bold"}),
            (percent(share), share, 5, {"color": INK}),
        ]
        for text, at, side, kind in kinds:
            axes.annotate(text, (at, height), (side, 0), textcoords="offset points", va="center", fontsize=SIZE, **kind)
        if name in BASELINES:
            ends = [first - 0.45, first + len(group) - 0.55]
            axes.plot([share, share], ends, color=colour, linewidth=1.1, zorder=1, linestyle=DASHED)
