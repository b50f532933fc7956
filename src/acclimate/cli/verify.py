"""``acclimate verify``: run a recipe's claim, and again with its mechanism off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from acclimate.cli.output import aside, plain, say, write_json

__all__ = ["EXAMPLE", "verify"]

EXAMPLE = "acclimate verify tent"
KEYS = ("recipe", "passed", "measured", "required", "control_failed", "seeds", "seconds")


def verify(
    name: Annotated[str | None, typer.Argument(help="A recipe; `acclimate recipes` lists them.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All recipes; writes the results that papers count from.")
    ] = False,
    stale: Annotated[
        bool, typer.Option("--stale", help="With --all: only those whose sources have changed since.")
    ] = False,
    jobs: Annotated[int | None, typer.Option(help="With --all: how many at a time (default: one a core).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was measured against what must hold, as JSON.")] = False,
) -> None:
    """Run a recipe's claim, and again with its mechanism off.

    The first has to hold and the second to fail. The exit code is 1 where a claim does not hold or its control holds.
    """
    if (name is None) != every:
        raise ValueError("verify takes the name of a recipe, or --all, and not both")
    if not every and (stale or jobs is not None):
        raise ValueError(f"{'--stale' if stale else '--jobs'} chooses among several claims: give it with --all")
    if jobs is not None and jobs < 1:
        raise ValueError(f"--jobs {jobs} would measure nothing: give at least 1")
    from acclimate.recipes.verify import verify as verified
    from acclimate.recipes.verify import verify_all

    with aside():
        if name is not None:
            found = [verified(name)]
        else:
            found = list(verify_all(lambda result: say(_line(result)), stale, jobs).values())
    if as_json:
        shown = [{key: result[key] for key in KEYS} for result in found]
        write_json(shown if every else shown[0])
    elif name is not None:
        print(_long(found[0]))
    else:
        print(f"{sum(map(_holds, found))} of {len(found)} claims hold, and fail with their mechanism off")
    if not all(map(_holds, found)):
        raise typer.Exit(1)


def _holds(result: Mapping[str, Any]) -> bool:
    return bool(result["passed"] and result["control_failed"])


def _line(result: Mapping[str, Any]) -> str:
    claim = "holds" if result["passed"] else "FAILS"
    control = "control fails" if result["control_failed"] else "CONTROL HOLDS"
    return f"{result['recipe']:<24} {claim}, {control}  {result['seconds']:.1f} s"


def _long(result: Mapping[str, Any]) -> str:
    """All of a result for a person."""
    lines = [_line(result), f"seeds     {' '.join(map(str, result['seeds']))}"]
    for title in ("required", "measured", "control", "notes"):
        value = plain(result.get(title))
        for entry in value if isinstance(value, list) else [value]:
            text = ", ".join(f"{k} {_number(v)}" for k, v in entry.items()) if isinstance(entry, dict) else entry
            lines.append(f"{title:<9} {text}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
