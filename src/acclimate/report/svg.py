"""A matplotlib figure as an SVG element of a page: it takes the page's font and colours, and fetches nothing."""

from __future__ import annotations

import hashlib
import io
import re
from html import escape
from typing import TYPE_CHECKING

from acclimate.report.colours import themed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["svg"]


def svg(figure: Figure, alt: str = "") -> str:
    """The figure as one ``<svg>`` element; the same figure gives the same text.

    Black takes the page's text colour, white its background, and the colours of `palette` their dark variant on a
    dark screen. Identifiers are the figure's own, so several stand in one page.
    """
    from matplotlib import rc_context

    written = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "acclimate"}):
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = written.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 : text.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    own = f"p{hashlib.sha256(body.encode()).hexdigest()[:8]}-"
    body = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), own), body)
    width, height = (72 * side for side in figure.get_size_inches())
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="aspect-ratio:{width:g}/{height:g}" role="img" '
        f'aria-label="{escape(alt)}" fill="currentColor">{body.strip()}</svg>'
    )


def _tag(tag: str, own: str) -> str:
    """One tag with identifiers of its own, without a font, in the page's colours."""
    tag = re.sub(r'( id="| (?:xlink:)?href="#|url\(#)', rf"\g<1>{own}", tag).replace(" xlink:href=", " href=")
    tag = re.sub(r"font-family: [^;\"]*;? ?", "", tag)
    return re.sub(r'(?<= style=")[^"]*', lambda style: themed(style.group()), tag)
