"""Accuracy over time while conditions change: one line a method, one band a condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from acclimate.report.axes import POINTS, SIZE, WIDE, empty, finish, percent, width_of
from acclimate.report.colours import BASELINES, INK, WASH
from acclimate.report.section import Plot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Band", "curve"]

Band = tuple[str, int, int]
"""A condition and the steps it holds for: (name, first, past the last)."""
Series = Mapping[str, Sequence[float]]
DASHED = (0, (4, 2))


def curve(
    series: Series,
    bands: Sequence[Band] = (),
    *,
    window: int = 1,
    what: str = "accuracy",
    time: str = "batch",
    caption: str = "",
) -> Plot:
    """Shares between 0 and 1 over time, over bands for the conditions; beside the lines each one's mean over the whole.

    Each point is the mean of the last ``window`` values of the same condition. Raises `ValueError` for lines of
    different lengths, a value that is no share, or a band outside of the lines.

    >>> curve({"frozen": [0.9, 0.4], "tent": [0.9, 0.8]}, [("clean", 0, 1), ("noise", 1, 2)]).alt
    'accuracy over 2 steps under clean, noise; mean: frozen 65.0 %, tent 85.0 %'
    """
    lengths = {name: len(values) for name, values in series.items()}
    if not series or len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"a curve needs lines of one length, at least one step long: it was given {lengths or 'none'}")
    steps = next(iter(lengths.values()))
    for name, start, stop in bands:
        if not 0 <= start < stop <= steps:
            raise ValueError(f"the band {name!r} from {start} to {stop} is not within the {steps} steps")
    for name, values in series.items():
        for step, value in enumerate(values):
            if not 0 <= value <= 1:
                raise ValueError(f"{name!r} is {value} at step {step}: a curve shows shares between 0 and 1")
    if window < 1:
        raise ValueError(f"window={window} is less than one step")
    means = {name: sum(values) / steps for name, values in series.items()}
    under = f" under {', '.join(name for name, _, _ in bands)}" if bands else ""
    said = ", ".join(f"{name} {percent(mean)}" for name, mean in means.items())
    draw = partial(_draw, trailing(series, bands, window), bands, means, what, time)
    return Plot(draw, tuple(series), caption, f"{what} over {steps} steps{under}; mean: {said}")


def trailing(series: Series, bands: Sequence[Band], window: int) -> dict[str, list[float]]:
    """The mean of the last ``window`` values, begun anew where a condition begins.

    >>> trailing({"tent": [0.0, 1.0, 1.0, 0.0]}, [("clean", 0, 2), ("noise", 2, 4)], 2)
    {'tent': [0.0, 0.5, 1.0, 0.5]}
    """
    starts = {step: start for _, start, stop in bands for step in range(start, stop)}
    smooth: dict[str, list[float]] = {}
    for name, values in series.items():
        recent = [values[max(starts.get(s, 0), s + 1 - window) : s + 1] for s in range(len(values))]
        smooth[name] = [sum(part) / len(part) for part in recent]
    return smooth


def _draw(
    smooth: Series,
    bands: Sequence[Band],
    means: Mapping[str, float],
    what: str,
    time: str,
    colours: Mapping[str, str],
    width: float,
) -> Figure:
    widest = max(width_of(f"00.0 %  {name}") for name in means) + 12
    beside = min(widest, POINTS * width / 2) if width >= WIDE else 22
    under = 38 if width >= WIDE else 44 + 15 * ((len(means) + 1) // 2)
    over = 32 if width >= WIDE else 44
    points, plot, height = POINTS * width, POINTS * width - 40 - beside, 200
    figure, axes = empty(width, (height + under + over) / POINTS)
    steps = len(next(iter(smooth.values())))
    axes.set_xlim(0, steps)
    axes.set_ylim(max(0.0, int(10 * min(map(min, smooth.values())) - 0.5) / 10), 1.0)
    _bands(axes, bands, plot / steps)
    for name, values in smooth.items():
        plain = name in BASELINES
        axes.plot(
            [step + 0.5 for step in range(steps)], values, color=colours[name], linewidth=1.5 if plain else 2,
            linestyle=DASHED if plain else "solid", zorder=2 if plain else 3, solid_joinstyle="round",
        )  # fmt: skip
    for place, name in enumerate(sorted(means, key=lambda name: -means[name])):
        corner, offset = ((1, 1), (10, -6 - 15 * place)) if width >= WIDE else _below(place, plot)
        axes.annotate(
            f"{percent(means[name])}  {name}", corner, offset, "axes fraction", "offset points", color=colours[name],
            fontsize=SIZE, va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip
    axes.set_xlabel(time, fontsize=SIZE, color=INK, labelpad=3)
    axes.set_ylabel(what, fontsize=SIZE, color=INK)
    axes.locator_params(axis="x", integer=True, nbins=9 if width >= WIDE else 5)
    finish(axes, "y")
    total = height + under + over
    figure.subplots_adjust(left=40 / points, right=1 - beside / points, top=1 - over / total, bottom=under / total)
    return figure


def _below(place: int, plot: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where the legend's entries stand on a phone: under the plot, two in a row."""
    return (0, 0), (plot / 2 * (place % 2), -46 - 15 * (place // 2))


def _bands(axes: Axes, bands: Sequence[Band], step: float) -> None:
    """Every other condition shaded, each named above, slanting where a name is wider than its band."""
    room = step * 1.12  # these are not bold
    texts = [name.replace(" ", "\n") if width_of(name) > room * (stop - start) else name for name, start, stop in bands]
    slanted = any(
        max(map(width_of, text.split("\n"))) > room * (stop - start)
        for text, (_, start, stop) in zip(texts, bands, strict=True)
    )
    for place, ((name, start, stop), text) in enumerate(zip(bands, texts, strict=True)):
        if place % 2 == 0:
            axes.axvspan(start, stop, color=WASH, linewidth=0, zorder=0)
        axes.annotate(
            name if slanted else text, ((start + stop) / 2, 1), (-4 if slanted else 0, 5),
            axes.get_xaxis_transform(), "offset points", ha="left" if slanted else "center", va="bottom", color=INK,
            fontsize=SIZE, linespacing=1.1, rotation=40 if slanted else 0, rotation_mode="anchor",
        )  # fmt: skip
