"""Measure on one pinned thread, print the table, and keep it in ``benchmarks/results.md``.

    python -m benchmarks [PART ...] [--data DIR]

A part that is measured alone takes its rows' place and leaves the others'; `reaching` needs the folder with the data.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path

import torch

from benchmarks import combining, fleet, forms, imports, mixed, reaching, sizes, step
from benchmarks.measure import Row, table

PARTS = {
    "imports": imports.rows,
    "step": step.rows,
    "forms": forms.rows,
    "fleet": fleet.rows,
    "mixed": mixed.rows,
    "sizes": sizes.rows,
    "combining": combining.rows,
}
KEPT = Path(__file__).with_name("results.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "reaching"]))
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    parts = dict(PARTS)
    if given.data is not None:
        parts["reaching"] = lambda: reaching.rows(given.data)
    if unknown := set(given.parts) - set(parts):
        parser.error(f"no part here is named {', '.join(sorted(unknown))}: there are {', '.join(parts)}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in given.parts or parts:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        kept[name] = [row.plain() for row in parts[name]()]
        KEPT.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "peft"))
    found = [Row.of(row) for name in [*PARTS, "reaching"] for row in kept.get(name, [])]
    text = f"One thread, medians by turns, {versions}. Floor: the base alone, forward.\n\n{table(found)}\n"
    print(text)
    KEPT.with_suffix(".md").write_text(text)


main()
