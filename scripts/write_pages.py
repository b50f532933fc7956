"""Write the pages of ``docs/`` that are generated from code: ``python scripts/write_pages.py``."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

from acclimate.engine.method import methods

DOCS = Path(__file__).parent.parent / "docs"


def method_page() -> str:
    """Every method: what it is, its settings, its faces, and the laws it declares itself free of."""
    lines = [
        "# Methods",
        "",
        "Generated from the code by `python scripts/write_pages.py`; a test holds it to be up to date.",
        "",
        "| method | what it is | sits on | faces | settings |",
        "|---|---|---|---|---|",
    ]
    free: list[str] = []
    for name, cls in methods().items():
        if not cls.__module__.startswith("acclimate."):
            continue
        about = (inspect.getdoc(cls) or "").splitlines()[0].replace("|", "\\|")
        settings = ", ".join(f"`{f.name}={f.default!r}`" for f in dataclasses.fields(cls))
        faces = ", ".join(f"`{face}`" for face in sorted(cls.Module.faces))
        lines.append(f"| `{name}` | {about} | {cls.kind} | {faces} | {settings or '-'} |")
        free += [f"| `{name}` | {law} | {why} |" for law, why in cls.exceptions.items()]
    lines += ["", "## Declared exceptions to the laws", "", "| method | law | reason |", "|---|---|---|", *free, ""]
    return "\n".join(lines)


PAGES = {"methods.md": method_page}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())
        print(DOCS / name)
