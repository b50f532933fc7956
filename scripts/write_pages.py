"""Write what is generated from code, pages of ``docs/`` and lists of names: ``python scripts/write_pages.py``."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path
from typing import Any

from acclimate.bench.on_methods import TOLD_APART
from acclimate.engine.method import Method, methods
from acclimate.recipes.domains.page import domain_page
from acclimate.recipes.streams.page import stream_page

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


def peer_page() -> str:
    """What other libraries call their methods, and what the same is here; gaps are rows too."""
    from acclimate.store.peers import PEERS

    here = sum(bool(peer.ours) for peer in PEERS)
    lines = [
        "# What others call it",
        "",
        "Generated from the code by `python scripts/write_pages.py`; a test holds it to be up to date.",
        "",
        f"{here} of {len(PEERS)} methods of PEFT 0.21, adapters 1.3 and LyCORIS 4.1. Where it says files they are read and "
        "written, so that an adapter trained there answers the same here.",
        "",
        "| library | name | here | files | note |",
        "|---|---|---|---|---|",
    ]
    for peer in PEERS:
        ours = f"`{peer.ours}`" if peer.ours else "not here"
        lines.append(f"| {peer.library} | {peer.name} | {ours} | {'yes' if peer.moves else '-'} | {peer.note or '-'} |")
    return "\n".join([*lines, ""])


def rule_page() -> str:
    """The axes that combine adapters, models and checkpoints, and where everything that has a name lies on them."""
    from acclimate.compose.combination import sparsify, weigh
    from acclimate.compose.combination.peers import PEERS
    from acclimate.compose.combination.rule import NAMED, Rule

    axes = list(dataclasses.fields(Rule))
    formula = (inspect.getdoc(importlib.import_module("acclimate.compose.combination.rule")) or "").split("\n\n")[1]
    lines = [
        "# Rules that combine",
        "",
        "Generated from the code by `python scripts/write_pages.py`; a test holds it to be up to date.",
        "",
        "`acc.combine(adapters_or_models_or_files, rule)` takes a name below, or any other point: `acc.Rule(...)`.",
        "",
        "```",
        inspect.cleandoc(formula),
        "```",
        "",
        "## The axes",
        "",
        *_ways("sparsify", sparsify),
        *_ways("weigh", weigh),
        "## Points that have a name",
        "",
        f"| rule | {' | '.join(f'`{field.name}`' for field in axes)} |",
        f"|---|{'---|' * len(axes)}",
    ]
    for name, rule in NAMED.items():
        lines.append(f"| `{name}` | {' | '.join(_setting(rule, field) for field in axes)} |")
    lines += ["", "## What others call it", "", "| library | name | here | note |", "|---|---|---|---|"]
    for peer in PEERS:
        lines.append(f"| {peer.library} | {peer.name} | {_point(peer.rule, NAMED)} | {peer.note or '-'} |")
    return "\n".join([*lines, ""])


def _ways(axis: str, module: object) -> list[str]:
    blocks = (inspect.getdoc(module) or "").split("\n\n")
    return [
        f"`{axis}`: {blocks[0].split(': ')[0].rstrip('.').lower()}",
        "",
        "```",
        inspect.cleandoc(blocks[1]),
        "```",
        "",
    ]


def _setting(rule: object, field: dataclasses.Field[object]) -> str:
    value = getattr(rule, field.name)
    return "" if value == field.default else str(value)


def _point(rule: object, named: dict[str, object]) -> str:
    if rule is None:
        return "-"
    exact = [name for name, each in named.items() if each == rule]
    if exact:
        return f"`{exact[0]}`"
    shown = [(f.name, getattr(rule, f.name), f.default) for f in dataclasses.fields(rule)]  # type: ignore[arg-type]
    return f"`Rule({', '.join(f'{name}={value!r}' for name, value, default in shown if value != default)})`"


def tree_page() -> str:
    """The nodes of a composition: what each is, its settings, and what it does to a weight."""
    from acclimate.compose import compositions

    lines = [
        "# Compositions",
        "",
        "Generated from the code by `python scripts/write_pages.py`; a test holds it to be up to date.",
        "",
        '`acc.compose(model, Route("a", Stack("b", "c.safetensors")))`: nodes over adapters, files, methods and other nodes.',
        "",
    ]
    for name, cls in compositions().items():
        about = (inspect.getdoc(importlib.import_module(cls.__module__)) or "").split("\n\n")
        own = [f for f in dataclasses.fields(cls) if f.name not in ("children", "kind")]
        settings = ", ".join(f"`{f.name}={f.default!r}`" for f in own) or "none"
        steady = getattr(cls.Module, "steady", True)
        folds = "folds into a weight, exactly" if steady else "acts on what passes: no weight can hold it"
        lines += [f"## {name}", "", " ".join(about[0].split()), "", "```", inspect.cleandoc(about[1]), "```", ""]
        lines += [f"Settings: {settings}. It {folds}.", ""]
    return "\n".join(lines)


def which_page() -> str:
    """What each method was worth and what it cost on real tasks, from the measurement that lies beside the page."""
    from acclimate.bench.real_tasks import TASKS

    found = json.loads((DOCS / "which-method.json").read_text())
    rows = found["rows"]
    named = list(dict.fromkeys(row["method"] for row in rows))
    lines = [
        "# Which method when",
        "",
        "Generated from `which-method.json` by `python scripts/write_pages.py`; a test holds it to be up to date. "
        "`acclimate bench methods --data DIR --out DIR` measures again.",
        "",
        f"How it was measured: {found['protocol']}. On {found['machine']}.",
        "",
        "![accuracy against parameters, bytes kept for the backward pass and processor seconds a step](which-method.png)",
        "",
        *_in_short(rows),
        "",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task and row["accuracy"] is not None]
        missing = [row["method"] for row in rows if row["task"] == task and row["accuracy"] is None]
        lines += [f"## {task}", "", TASKS[task], "", *_said(own), "", *_table(own)]
        lines += ["", f"Not for this network: {', '.join(missing)}."] if missing else []
        unseen = [name for name in named if name not in {row["method"] for row in rows if row["task"] == task}]
        lines += ["", f"Not measured: {', '.join(unseen)}."] if unseen else []
        lines.append("")
    return "\n".join(lines)


COSTS = {
    "parameters": "fewest parameters",
    "file_bytes": "smallest file",
    "kept_bytes": "fewest bytes kept",
    "cpu_seconds_a_step": "quickest step",
}


def _in_short(rows: list[dict[str, Any]]) -> list[str]:
    """What holds on every task that a method was measured on."""
    near: dict[str, list[bool]] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task and row["accuracy"] is not None]
        best = max(row["accuracy"] for row in own)
        for row in own:
            near.setdefault(row["method"], []).append(row["accuracy"] >= best - TOLD_APART)
    always = [f"{name} ({len(told)} of {len(told)} tasks)" for name, told in near.items() if all(told)]
    never = [name for name, told in near.items() if not any(told)]
    return [
        f"- Never told apart from the best, where measured: {', '.join(always) or 'none'}.",
        f"- Always told apart from it: {', '.join(never) or 'none'}.",
    ]


def _said(rows: list[dict[str, Any]]) -> list[str]:
    """What the numbers of one task say, and nothing else."""
    best = max(rows, key=lambda row: row["accuracy"])
    head = next(row for row in rows if row["method"] == "head only")
    close = [row for row in rows if row["accuracy"] >= best["accuracy"] - TOLD_APART and row["parameters"]]
    lost = [row["method"] for row in rows if row["parameters"] and row["accuracy"] <= head["accuracy"] and row != head]
    near = f"{len(close)} of {sum(bool(row['parameters']) for row in rows)} methods are not told apart from it"
    said = [f"- The most accurate: {best['method']}, {best['accuracy']:.1f} %; {near} (within {TOLD_APART} points)."]
    for cost, words in COSTS.items():
        least = min(close, key=lambda row: row[cost])
        said.append(f"- Of these, the {words}: {least['method']} ({_amount(least, cost)}).")
    bare = next(row["accuracy"] for row in rows if row["method"] == "unadapted")
    above = [row["method"] for row in rows if row["accuracy"] > bare + TOLD_APART]
    said.append(f"- Told apart from the unadapted network, above it: {', '.join(above) or 'none'}.")
    return [*said, f"- No better than a head alone: {', '.join(lost) or 'none'}."]


def _table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | accuracy | parameters | bytes of the file | bytes kept for backward | processor seconds a step |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: -row["accuracy"]):
        costs = " | ".join(_amount(row, cost) for cost in COSTS)
        lines.append(f"| {row['method']} | {row['accuracy']:.1f} | {costs} |")
    return lines


def _amount(row: dict[str, Any], cost: str) -> str:
    value = row[cost]
    return "-" if not value else f"{value:,}" if isinstance(value, int) else f"{value:.3g} s"


PAGES = {
    DOCS / "which-method.md": which_page,
    DOCS / "peers.md": peer_page,
    DOCS / "rules.md": rule_page,
    DOCS / "domains.md": domain_page,
    DOCS / "streams.md": stream_page,
    DOCS / "compositions.md": tree_page,
    DOCS / "methods.md": method_page,
    SOURCE / "methods" / "__init__.py": method_room,
    SOURCE / "__init__.py": root,
}


if __name__ == "__main__":
    for path, page in PAGES.items():
        path.write_text(page())
        print(path)
