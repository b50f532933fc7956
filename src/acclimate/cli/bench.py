"""``acclimate bench NAME --data DIR``: what is measured on real data that is no part of this package."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli.output import aside, columns, write_json

__all__ = ["EXAMPLE", "bench"]

EXAMPLE = "acclimate bench rules --data data"
_PREFIX = "on_"


def bench(
    name: Annotated[str, typer.Argument(help="rules: combinations of real fine-tunes.")],
    data: Annotated[Path, typer.Option(help="The folder with the data.")],
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:
    """Measure on real data, and print the table with its protocol.

    Where the data is missing, it says so and measures nothing.
    """
    found = benches()
    if name not in found:
        raise ValueError(f"there is no bench {name!r}: there are {', '.join(found)}")
    module = found[name]
    if not data.is_dir():
        print(f"the bench {name} was skipped: there is no folder {data} with its data")
        return
    with aside():
        rows: list[dict[str, Any]] = module.measure(data)
    if as_json:
        write_json({"protocol": module.PROTOCOL, "rows": rows})
        return
    print(module.PROTOCOL)
    print(columns(rows))


def benches() -> dict[str, Any]:
    """Every bench there is: a module ``on_NAME`` of the room `acclimate.bench`."""
    import acclimate.bench as room

    names = [module.name for module in pkgutil.iter_modules(room.__path__) if module.name.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX): importlib.import_module(f"{room.__name__}.{name}") for name in names}
