"""Adapters to and from the folders of AdapterHub's package ``adapters``, which need not be installed.

Every type has a file; a folder is read as a stranger's, and never unpickled.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import nn

from acclimate.engine import Adapter
from acclimate.engine.adapter import taken
from acclimate.engine.method import MethodError
from acclimate.methods import Head
from acclimate.store.adapterhub.folder import CONFIG, HEAD, TENSORS, read_folder, write_part
from acclimate.store.adapterhub.form import forms
from acclimate.store.adapterhub.head import read_head, write_head
from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.piece import pieces_of
from acclimate.store.places import Places
from acclimate.store.seat import seat

__all__ = ["HubError", "read_adapterhub", "write_adapterhub"]

LIBRARY, VERSION = "AdapterHub", "adapters.1.3.0"


def read_adapterhub(model: nn.Module, folder: str | Path, name: str | None = None, head: bool = True) -> Adapter:
    """Load an adapter that the package ``adapters`` saved: resident and enabled. Its name is its own if none is given.

    ``head=False`` leaves a head that lies beside it. Nothing changes if this raises.
    """
    folder, places = Path(folder), Places.of(model, LIBRARY, HubError)
    given = read_folder(folder, places)
    name = given.name if name is None else name
    taken(model, name)
    known = forms()
    form = next((form for form in known.values() if form.means(given.config)), None)
    if form is None:
        found = str(given.config.get("architecture"))[:40]
        raise HubError(f"{folder} has the architecture {found!r}, and those read here are {', '.join(known)}")
    try:
        pieces = form.read(given, places)
        given.finish()
        if not pieces:
            raise HubError(f"{folder} holds no tensor of the adapter {given.name!r}: get it again from its source")
        return seat(model, name, pieces + (read_head(folder, places) if head else []), HubError)
    except MethodError as error:
        raise HubError(f"{folder} describes what no method here can be: {error}") from error


def write_adapterhub(adapter: Adapter, folder: str | Path) -> Path:
    """Save an adapter as the package ``adapters`` would, each file written beside the old one and renamed over it."""
    folder, places, model = Path(folder), Places.of(adapter.model, LIBRARY, HubError), adapter.model
    pieces = pieces_of(adapter)
    heads = [piece for piece in pieces if type(piece.method) is Head]
    rest = [piece for piece in pieces if type(piece.method) is not Head]
    form = next((form for form in forms().values() if rest and all(map(form.owns, rest))), None)
    if form is None:
        held = ", ".join(dict.fromkeys(type(piece.method).__name__ for piece in pieces))
        raise HubError(f"AdapterHub has no type that holds {held} at these sites: save it with adapter.save")
    tensors, settings = form.write(rest, places)
    config: Any = getattr(model, "config", None)
    said = {
        "hidden_size": getattr(config, "hidden_size", None), "model_class": type(model).__name__,
        "model_name": str(model.__dict__.get("name_or_path") or ""), "model_type": getattr(config, "model_type", None),
        "version": VERSION,
    }  # fmt: skip
    name = re.sub(r"\W", "_", adapter.name)
    beside = write_head(heads, said) if heads else None
    held_by = {f"{path}.{kind}.{name}.{role}": tensor for (path, kind, role), tensor in tensors.items()}
    write_part(folder, (CONFIG, TENSORS), {**said, "config": settings, "name": name}, held_by)
    if beside is not None:
        write_part(folder, (HEAD[0], HEAD[1]), *beside)
    return folder
