"""Every format that an adapter can lie in, recognised by what is there and not by what it is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from acclimate.engine import Adapter, describe, load
from acclimate.engine.files import FileError
from acclimate.store.adapterhub import read_adapterhub, write_adapterhub
from acclimate.store.kohya import holds_kohya, read_kohya, write_kohya
from acclimate.store.peft import read_peft, write_peft
from acclimate.store.refusal import StoreError

__all__ = ["FORMATS", "Format", "read_any", "recognised"]


@dataclass(frozen=True)
class Format:
    """A format by name: whether it is what lies at a path, and adapters from it and to it."""

    name: str
    holds: Callable[[Path], bool]
    read: Callable[..., Adapter]  # (model, path, name), and options of its own
    write: Callable[[Adapter, Path], Path]


def recognised(path: Path) -> Format:
    """The format of what lies at a path.

    >>> import tempfile
    >>> recognised(Path(tempfile.mkdtemp()))
    Traceback (most recent call last):
    acclimate.store.refusal.StoreError: ...
    """
    if not path.exists():
        raise FileNotFoundError(f"there is nothing at {path}")
    found = next((each for each in FORMATS.values() if each.holds(path)), None)
    if found is None:
        pickled = path.suffix in (".pt", ".pth", ".bin", ".ckpt")
        why = "is a pickle, which could run code and is never loaded" if pickled else "is no adapter of any of them"
        raise StoreError(f"{path} {why}: the formats read here are {', '.join(FORMATS)}, all as safetensors")
    return found


def read_any(model: nn.Module, path: str | Path, name: str | None = None) -> Adapter:
    """Load an adapter of whatever format lies there: resident and enabled. Nothing changes if this raises.

    >>> import tempfile
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Sequential(nn.Linear(4, 2))
    >>> folder = write_peft(attach(model, LoRA(rank=2), at="0"), tempfile.mkdtemp())
    >>> read_any(model, folder, "theirs").parts[0].method
    LoRA(rank=2)
    """
    return recognised(Path(path)).read(model, Path(path), name)


def _ours(path: Path) -> bool:
    try:
        return path.is_file() and bool(describe(path))
    except FileError:
        return False


def _settings(path: Path) -> dict[str, Any]:
    """What the settings in a folder say; nothing where there are none that can be read."""
    try:
        found = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


_ALL = (
    Format("acclimate", _ours, load, lambda adapter, path: adapter.save(path)),
    Format("kohya", lambda path: path.is_file() and holds_kohya(path), read_kohya, write_kohya),
    Format("adapterhub", lambda path: {"config", "name"} <= _settings(path).keys(), read_adapterhub, write_adapterhub),
    Format("peft", lambda path: "peft_type" in _settings(path), read_peft, write_peft),
)
FORMATS: dict[str, Format] = {each.name: each for each in _ALL}
