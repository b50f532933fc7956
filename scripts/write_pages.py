"""Write what is generated from code, pages of ``docs/`` and lists of names: ``python scripts/write_pages.py``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from acclimate.engine.method import Method, methods

DOCS = Path(__file__).parent.parent / "docs"
SOURCE = DOCS.parent / "src" / "acclimate"


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
    for name, cls in _public():
        about = (inspect.getdoc(cls) or "").splitlines()[0].replace("|", "\\|")
        settings = ", ".join(f"`{f.name}={f.default!r}`" for f in dataclasses.fields(cls))
        faces = ", ".join(f"`{face}`" for face in sorted(cls.Module.faces))
        lines.append(f"| `{name}` | {about} | {cls.kind} | {faces} | {settings or '-'} |")
        free += [f"| `{name}` | {law} | {why} |" for law, why in cls.exceptions.items()]
    lines += ["", "## Declared exceptions to the laws", "", "| method | law | reason |", "|---|---|---|", *free, ""]
    return "\n".join(lines)


def method_room() -> str:
    """``methods/__init__.py``: every public method, by the file it is in."""
    found = [(cls.__module__, name) for name, cls in _public()]
    by_file: dict[str, list[str]] = {}
    for module, name in sorted(found):
        by_file.setdefault(module, []).append(name)
    imports = [f"from {module} import {', '.join(sorted(names, key=_imported))}" for module, names in by_file.items()]
    names = sorted((name for _, name in found), key=_order)
    listed = "".join(f'    "{name}",\n' for name in names)
    about = '"""What can be put at a site. A method is one file; this page is written by ``scripts/write_pages.py``."""'
    return "\n".join([about, "", *imports, "", f"__all__ = [\n{listed}]", ""])


def root() -> str:
    """``acclimate/__init__.py`` with every public method in its place."""
    text = (SOURCE / "__init__.py").read_text()
    names = [name for name, _ in _public()]
    kept = sorted(
        {*re.findall(r'^    "(\w+)",$', text.split("__all__ = [")[1].split("]")[0], re.M), *names}, key=_order
    )
    head, rest = text.split("    from acclimate.methods import (\n")
    head += "    from acclimate.methods import (\n" + "".join(
        f"        {name},\n" for name in sorted(names, key=_imported)
    )
    rest = "    )\n" + rest.split("    )\n", 1)[1]
    before, after = rest.split("__all__ = [\n")
    listed = "".join(f'    "{name}",\n' for name in kept)
    return head + before + "__all__ = [\n" + listed + "]\n" + after.split("]\n", 1)[1]


def _order(name: str) -> tuple[int, str]:
    """As the linter sorts: constants, classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def _imported(name: str) -> tuple[int, str]:
    """As the linter sorts imports: the same, whatever the case."""
    return (_order(name)[0], name.lower())


def _public() -> list[tuple[str, type[Method]]]:
    """Methods of this package by name, found in its files and not in the page that lists them."""
    room = importlib.import_module("acclimate.methods")
    for module in pkgutil.iter_modules(room.__path__):
        importlib.import_module(f"acclimate.methods.{module.name}")
    own = [(name, cls) for name, cls in methods().items() if cls.__module__.startswith("acclimate.methods.")]
    return [(name, cls) for name, cls in own if not name.startswith("_")]


PAGES = {
    DOCS / "methods.md": method_page,
    SOURCE / "methods" / "__init__.py": method_room,
    SOURCE / "__init__.py": root,
}


if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
        print(path)
