"""``acclimate papers``: the catalogue, and what of it works."""

from __future__ import annotations

from typing import Annotated

import typer

from acclimate.cli.output import write_json

__all__ = ["EXAMPLE", "papers"]

EXAMPLE = "acclimate papers --json"
_WIDTH = 36


def papers(
    as_json: Annotated[bool, typer.Option("--json", help="All 448 rows with title, wing, status and recipes.")] = False,
) -> None:
    """How many papers of the catalogue work, by wing.

    A paper works when the committed results hold a passing, not stale claim of a recipe that names it.
    """
    from acclimate.recipes.papers import papers as catalogue
    from acclimate.recipes.papers import tally

    found = catalogue()
    if as_json:
        rows = [{"title": p.title, "wing": p.wing, "status": p.status, "recipes": p.recipes} for p in found]
        reasons = [{"reason": p.reason} if p.reason else {} for p in found]
        write_json([{**row, **reason} for row, reason in zip(rows, reasons, strict=True)])
        return
    wings = tally(found)
    largest = max(count.total() for count in wings.values())
    for wing, count in wings.items():
        total, works, off = count.total(), count["works"], count["off"]
        print(f"{wing:<9} {_bar(works, off, total, largest)}  {works:>3} of {total}{' (off)' if off == total else ''}")
    sums = {status: sum(count[status] for count in wings.values()) for status in ("works", "planned", "off")}
    print(f"\n█ works {sums['works']}   ░ planned {sums['planned']}   · off {sums['off']}   of {len(found)}")


def _bar(works: int, off: int, total: int, largest: int) -> str:
    """A bar as long as the wing is large; one paper that works shows.

    >>> _bar(1, 0, 72, 72).count("█"), len(_bar(0, 0, 36, 72).rstrip())
    (1, 18)
    """
    length = max(1, round(_WIDTH * total / largest))
    done = max(bool(works), round(length * works / total))
    never = round(length * off / total)
    return ("█" * done + "░" * (length - done - never) + "·" * never).ljust(_WIDTH)
