"""``acclimate recipes``: what can be run, and what data each needs."""

from __future__ import annotations

from typing import Annotated

import typer

from acclimate.cli.output import columns, write_json

__all__ = ["EXAMPLE", "recipes"]

EXAMPLE = "acclimate recipes"


def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="With papers and settings, as JSON.")] = False,
) -> None:
    """All recipes, and the data each needs."""
    from acclimate.recipes.recipe import all_recipes

    found = all_recipes()
    if as_json:
        write_json(
            [
                {
                    "name": name,
                    "family": each.family,
                    "needs": each.needs,
                    "summary": each.summary,
                    "papers": each.papers,
                    "settings": each.defaults,
                }
                for name, each in found.items()
            ]
        )
        return
    rows = [
        {"recipe": name, "needs": " ".join(f"--{n}" for n in sorted(each.needs)), "what it does": each.summary}
        for name, each in found.items()
    ]
    print(columns(rows) if rows else "there are no recipes here")
