"""Measure everything on one pinned thread, print the table, and write it to ``benchmarks/results.md``."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import torch

from benchmarks import combining, fleet, forms, imports, mixed, step
from benchmarks.measure import Row, table

PARTS = {
    "imports": imports.rows,
    "step": step.rows,
    "forms": forms.rows,
    "fleet": fleet.rows,
    "mixed": mixed.rows,
    "combining": combining.rows,
}


def main() -> None:
    torch.set_num_threads(1)
    chosen = sys.argv[1:] or list(PARTS)
    found: list[Row] = []
    for name in chosen:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        found += PARTS[name]()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "peft"))
    text = f"One thread, medians by turns, {versions}.\n\n{table(found)}\n"
    print(text)
    if not sys.argv[1:]:
        Path(__file__).with_name("results.md").write_text(text)


main()
