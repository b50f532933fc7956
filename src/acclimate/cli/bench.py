"""``acclimate bench NAME --data DIR``: what is measured on real data that is no part of this package.

Rows may carry a ``protocol``: those that share one are a table of their own, below its line. A bench may have ``findings``: what
its rows say, in sentences.
"""

from __future__ import annotations

import importlib
import itertools
import json
import pkgutil
import platform
from pathlib import Path
from typing import Annotated, Any

import typer

from acclimate.cli.output import aside, columns, markdown, plain, write_json

__all__ = ["EXAMPLE", "bench"]

EXAMPLE = "acclimate bench rules --data data"
_PREFIX = "on_"


def bench(
    name: Annotated[
        str, typer.Argument(help="rules: combinations of real fine-tunes; methods: which is worth what; streams.")
    ],
    data: Annotated[Path, typer.Option(help="The folder with the data.")],
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the table as JSON, a picture if there is one, and the rows so far of a long bench."
        ),
    ] = None,
    small: Annotated[bool, typer.Option("--small", help="A quick look, where the bench has one.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="What steps cost, where the bench knows.")] = False,
    jobs: Annotated[int | None, typer.Option(help="How many rows to measure at a time, where the bench can.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Write docs/NAME-bench.md and docs/NAME-bench.json.")] = False,
) -> None:
    """Measure on real data, and print the table with its protocol.

    Where the data is missing, it says so and measures nothing. A long bench that was cut off goes on with the same --out.
    """
    known = benches()
    if name not in known:
        raise ValueError(f"there is no bench {name!r}: there are {', '.join(known)}")
    module = known[name]
    options = getattr(module, "OPTIONS", ())
    asked: dict[str, Any] = {
        option: given
        for option, given in {"small": small or None, "cost": cost or None, "jobs": jobs}.items()
        if given is not None
    }
    for option in asked:
        if option not in options:
            raise ValueError(f"the bench {name} has no --{option}: leave it out")
    stem = f"{name}-cost" if cost else name
    kept = out / f"{stem}.rows.jsonl" if out is not None and "kept" in options else None
    if not data.is_dir():
        print(f"the bench {name} was skipped: there is no folder {data} with its data")
        return
    with aside():
        try:
            rows: list[dict[str, Any]] = module.measure(data, **asked, **({} if kept is None else {"kept": kept}))
        except FileNotFoundError as error:
            raise ValueError(
                f"the bench {name} needs {error.filename}, and the folder {data} has no such file"
            ) from error
    protocol = getattr(module, "COSTS", module.PROTOCOL) if cost else module.PROTOCOL
    result: dict[str, Any] = {"protocol": protocol, "machine": _machine(), "rows": rows}
    if not cost and (found := getattr(module, "findings", None)):
        result["findings"] = found(rows)
    if out is not None:
        _keep(out / stem, result, getattr(module, "PICTURE", None))
        if kept is not None:
            kept.unlink(missing_ok=True)
    if write:
        path = Path("docs") / f"{name}-{'cost' if cost else 'bench'}"
        _keep(path, result, None)
        path.with_suffix(".md").write_text(_page(f"{name} --cost" if cost else name, result), encoding="utf-8")
    if as_json:
        write_json(result)
        return
    print(protocol)
    for line, table in _tables(rows):
        if line:
            print(f"\n{line}")
        print(columns(table))
    for sentence in result.get("findings", ()):
        print(sentence)


def _tables(rows: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Rows that share a protocol, below its line and without it."""
    groups = itertools.groupby(rows, lambda row: str(row.get("protocol", "")))
    return [(line, [{n: v for n, v in row.items() if n != "protocol"} for row in group]) for line, group in groups]


def _page(name: str, result: dict[str, Any]) -> str:
    tables = [text for line, table in _tables(result["rows"]) for text in (line, markdown(table)) if text]
    said = f"Measured by `acclimate bench {name}`, on {result['machine']}: {result['protocol']}."
    findings = ["\n".join(f"- {sentence}." for sentence in result["findings"])] if "findings" in result else []
    return "\n\n".join([f"# The bench of {name}", said, *findings, *tables]) + "\n"


def _machine() -> str:
    import torch

    return f"{platform.machine()}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"


def _keep(path: Path, found: dict[str, Any], picture: dict[str, Any] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(plain(found), indent=1) + "\n", encoding="utf-8")
    if picture is not None:
        from acclimate.report import tradeoff

        tradeoff(found["rows"], **picture).savefig(path.with_suffix(".png"), dpi=110)


def benches() -> dict[str, Any]:
    """Every bench there is: a module ``on_NAME`` of the room `acclimate.bench`."""
    import acclimate.bench as room

    names = [module.name for module in pkgutil.iter_modules(room.__path__) if module.name.startswith(_PREFIX)]
    return {name.removeprefix(_PREFIX): importlib.import_module(f"{room.__name__}.{name}") for name in names}
