"""``acclimate convert SOURCE TARGET``: an adapter from one format into another; with ``--to-lora``, as a plain LoRA."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli.output import aside, columns, write_json

if TYPE_CHECKING:
    from acclimate.engine import Adapter

__all__ = ["EXAMPLE", "convert"]

EXAMPLE = "acclimate convert adapted/lora.safetensors theirs --model acclimate.bench:pretrained --to peft"


def convert(
    source: Annotated[Path, typer.Argument(help="A file or folder; what lies there says which format it is.")],
    target: Annotated[Path, typer.Argument(help="The file or folder to write.")],
    model: Annotated[
        str, typer.Option(help="The adapter's model: a folder or hub name of transformers, or package.module:function.")
    ],
    to: Annotated[str, typer.Option(help="acclimate, peft, kohya or adapterhub.")] = "acclimate",
    to_lora: Annotated[bool, typer.Option("--to-lora", help="Make it a plain LoRA, the nearest of --rank.")] = False,
    rank: Annotated[int | None, typer.Option(help="With --to-lora: the rank.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Which model of a kohya file for several: lora_unet, lora_te1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was written, as JSON, with the error by site.")] = False,
) -> None:
    """Bring an adapter from one format into another.

    With --to-lora, whatever changes weights becomes a plain LoRA, and what that leaves out is said by site.
    """
    from acclimate.store import FORMATS, recognised

    if to not in FORMATS:
        raise ValueError(f"--to {to} is none of {', '.join(FORMATS)}")
    if to_lora != (rank is not None):
        raise ValueError("--to-lora needs the rank to cut to, and --rank is for it alone: give both, or neither")
    if rank is not None and rank < 1:
        raise ValueError(f"--rank {rank} leaves nothing of an adapter: give at least 1")
    found = recognised(source)
    if prefix is not None and found.name != "kohya":
        raise ValueError(
            f"--prefix is for files of kohya's scripts, and {source} is in the format of {found.name}: leave it out"
        )
    options = {} if prefix is None else {"prefix": prefix}
    with aside():
        from acclimate.cli.model import load

        adapter = found.read(load(model).model, source, source.stem if source.is_file() else None, **options)
        record: dict[str, Any] = {"source": str(source), "from": found.name, "target": str(target), "to": to}
        if rank is not None:
            adapter, errors = _as_lora(adapter, rank)
            record |= errors
        FORMATS[to].write(adapter, target)
    record["methods"] = [str(part.method) for part in adapter.parts]
    if as_json:
        write_json(record)
        return
    if rank is not None:
        print(columns([{"site": site, "relative error": error} for site, error in record["errors"].items()]))
        print(f"overall, rank {rank} leaves out {100 * record['error']:.3g} % of what the adapter adds to weights")
    print(f"{target} is {', '.join(record['methods'])} in the format of {to}, read as {found.name} from {source}")


def _as_lora(adapter: Adapter, rank: int) -> tuple[Adapter, dict[str, Any]]:
    """The nearest of a rank, and what is missing over what was there: by site, and over all sites."""
    from acclimate.compose import fold
    from acclimate.compose.combination.adapters import updates

    sizes = {key: float(update.norm()) for key, update in updates(adapter).items()}
    made = fold(adapter, f"{adapter.name} as LoRA", rank)
    errors = {key: made.errors.get(key, 0.0) for key in sizes}
    missing, whole = math.hypot(*(errors[key] * sizes[key] for key in sizes)), math.hypot(*sizes.values())
    return made, {"rank": rank, "errors": errors, "error": missing / whole if whole else 0.0}
