"""``acclimate show FILE``: what an adapter's file says of itself."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli.output import columns, write_json

__all__ = ["EXAMPLE", "show"]

EXAMPLE = "acclimate show adapted/tent.safetensors"


def show(
    file: Annotated[Path, typer.Argument(help="A file that adapter.save wrote.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with every site.")] = False,
) -> None:
    """What an adapter's file says of itself.

    Its methods, sites, parameters and bytes, and the base it belongs to.
    """
    described = read(file)
    if as_json:
        write_json(described)
        return
    print(
        f"{file}: the adapter {described['name']!r}, {described['bytes']:,} bytes, {described['parameters']:,} numbers"
    )
    for part in described["parts"]:
        settings = ", ".join(f"{key}={value!r}" for key, value in part["settings"].items())
        print(f"\n{part['method']}({settings}) at {len(part['sites'])} site{'s' * (len(part['sites']) != 1)}")
        print(columns([{"site": key, **described["base"][key]} for key in part["sites"]]))


def read(file: Path) -> dict[str, Any]:
    """The header of a file, and how much it holds; the numbers themselves are not read."""
    from safetensors import safe_open

    from acclimate.engine import describe

    header = describe(file)
    with safe_open(str(file), framework="pt") as opened:
        shapes = [opened.get_slice(name).get_shape() for name in opened.keys()]  # noqa: SIM118
    return {
        "name": header.get("name"),
        "parts": [
            {
                "method": part.get("method"),
                "settings": {key: value for key, value in part.items() if key not in ("method", "sites")},
                "sites": part["sites"],
            }
            for part in header["parts"]
        ],
        "parameters": sum(math.prod(shape) for shape in shapes),
        "bytes": file.stat().st_size,
        "base": {key: {"type": type_, "shape": shape} for key, (type_, shape, _) in header["base"].items()},
    }
