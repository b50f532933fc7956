"""One colour a name, wherever on a page the name stands.

A figure is drawn in the colours of the light page; on the page each becomes a variable of the style sheet, which has
a second value for dark screens. The unadapted model is always grey.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["BASELINES", "GREY", "HUES", "INK", "PAPER", "RULE", "WASH", "palette", "themed", "variables"]

HUES = {
    "#2b6cd4": "#78aefa",
    "#d9661f": "#f5a065",
    "#1f8f6b": "#5fcfa8",
    "#8a54c8": "#bd98f5",
    "#c23a5e": "#f58aa5",
    "#12839c": "#5cc8de",
    "#9a7b00": "#dcbd4a",
    "#6b5b4d": "#bba894",
}
"""Light to dark, told apart also by who sees no red or no green."""
GREY = "#7a828e"
INK, PAPER, RULE, WASH = "#1c2330", "#ffffff", "#d5dae2", "#f1f3f7"
"""Text, the page, hairlines, and the shade of a band."""
_DARK = {**HUES, GREY: "#98a1af", INK: "#e6e9ef", PAPER: "#12151b", RULE: "#333a46", WASH: "#1c2129"}
BASELINES = ("unadapted", "frozen")
"""The names that mean the unadapted model."""


def palette(names: Iterable[str], baselines: Iterable[str] = BASELINES) -> dict[str, str]:
    """A colour for each name in the order of first mention; after eight they begin again.

    >>> palette(["frozen", "tent", "lame", "tent"])
    {'frozen': '#7a828e', 'tent': '#2b6cd4', 'lame': '#d9661f'}
    """
    grey, hues = set(baselines), list(HUES)
    others = [name for name in dict.fromkeys(names) if name not in grey]
    coloured = {name: hues[place % len(hues)] for place, name in enumerate(others)}
    return {name: GREY if name in grey else coloured[name] for name in dict.fromkeys(names)}


def themed(markup: str) -> str:
    """Colours of the light page in a style become variables, and black the page's ink.

    >>> themed("stroke: #7a828e; fill: #000000")
    'stroke: var(--c7a828e); fill: var(--c1c2330)'
    """
    for colour in _DARK:
        markup = markup.replace(colour, f"var(--c{colour[1:]})")
    return markup.replace("#000000", f"var(--c{INK[1:]})")


def variables() -> tuple[str, str]:
    """The style sheet's variables on a light and on a dark screen."""
    light = "".join(f"--c{colour[1:]}:{colour};" for colour in _DARK)
    dark = "".join(f"--c{colour[1:]}:{night};" for colour, night in _DARK.items())
    return light, dark
