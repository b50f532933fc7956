"""Which code a claim rests on, as one hash: a result measured before that code changed is stale.

The recipe's module and every module of acclimate that it reaches through imports, name by name, so that a new method
beside the one in use changes nothing. Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["digest", "reached"]

_ROOT = "acclimate"


def digest(modules: Sequence[str], functions: Sequence[Callable[..., Any]]) -> str:
    """SHA-256 over the functions' own code, which is in the first of the modules, and over every module that these rest on."""
    seen = hashlib.sha256()
    for function in functions:
        seen.update(_plain(inspect.getsource(function)).encode())
    for name in sorted(frozenset().union(*(reached(module) for module in modules)) - {modules[0]}):
        seen.update(_code(name).encode())
    return seen.hexdigest()


@cache
def reached(module: str) -> frozenset[str]:
    """The modules of acclimate that a module reaches, itself among them."""
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += _imports(name)
    return frozenset(found)


@cache
def _imports(module: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names if alias.name.split(".")[0] == _ROOT]
            names += [
                name for name in named if not hasattr(importlib.import_module(name), "__path__")
            ]  # a room, to list it
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _ROOT:
            names += [_definer(node.module or "", alias.name) for alias in node.names]
    return tuple(name for name in names if name != _ROOT and not name.startswith(f"{_ROOT}.cli"))


@cache
def _definer(module: str, name: str) -> str:
    """The module that defines what another re-exports."""
    value = getattr(importlib.import_module(module), name, None)
    if isinstance(value, ModuleType):
        return value.__name__
    defined = getattr(value, "__module__", None)
    if isinstance(defined, str) and defined.split(".")[0] == _ROOT:
        return defined
    for node in ast.parse(_source(module)).body:  # a constant or an alias does not know where it is from
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _ROOT:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _definer(node.module or "", alias.name)
    return module


def _source(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))


@cache
def _code(module: str) -> str:
    return _plain(_source(module))


def _plain(source: str) -> str:
    """The code without comments, docstrings and layout."""
    tree = ast.parse(inspect.cleandoc(source) if source.startswith((" ", "\t")) else source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body.pop(0)
    return ast.dump(tree)
