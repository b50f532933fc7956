"""Adapters to and from the folders of Hugging Face's PEFT, which need not be installed.

    adapter_config.json          the settings
    adapter_model.safetensors    the tensors, under ``base_model.model.`` and the paths of the base's modules

What cannot be expressed on the other side is refused by name; a folder is read as a stranger's.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from acclimate.engine import Adapter
from acclimate.engine.adapter import taken
from acclimate.engine.method import MethodError
from acclimate.store.peft.folder import PREFIX, Given, read_folder, write_folder
from acclimate.store.peft.form import Form, forms
from acclimate.store.peft.pattern import bounded
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import savable
from acclimate.store.peft.settings import common
from acclimate.store.piece import pieces_of
from acclimate.store.places import Places
from acclimate.store.seat import seat

__all__ = ["PeftError", "read_peft", "write_peft"]

LIBRARY = "PEFT"


def read_peft(model: nn.Module, folder: str | Path, name: str | None = None) -> Adapter:
    """Load an adapter that PEFT saved: resident and enabled, as `load` does. Its name is the folder's if none is given.

    Nothing changes if this raises.

    >>> import tempfile
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> folder = write_peft(attach(model, LoRA(rank=2), at="0"), tempfile.mkdtemp())
    >>> list(read_peft(model, folder, name="again").tensors())
    ['0/0.weight/down', '0/0.weight/up']
    """
    given = read_folder(Path(folder))
    name = given.folder.resolve().name if name is None else name
    taken(model, name)
    kind = given.settings.values.get("peft_type")
    known = forms()
    if not isinstance(kind, str) or kind not in known:
        raise PeftError(f"{given.folder} has peft_type={str(kind)[:40]!r}, and those read here are {', '.join(known)}")
    form, places = known[kind], Places.of(model, LIBRARY, PeftError)
    given.settings.only(form.reads, form.harmless, form.defaults)
    held = list(given.left)
    try:
        pieces = form.read(given, places)
        given.finish()
        if not pieces:
            raise PeftError(f"{given.folder} holds no tensor of an adapter: get it again from its source")
        _complete(given, form, places, held)
        return seat(model, name, pieces, PeftError)
    except MethodError as error:
        raise PeftError(f"{given.folder} describes what no method here can be: {error}") from error


def _complete(given: Given, form: Form, places: Places, held: list[str]) -> None:
    """Refuse a folder whose settings mean modules of this model that it holds no tensors for.

    The tensors alone decide what is adapted, so an expression that could take forever is left unmatched.
    """
    wanted, excluded = given.settings.names("target_modules"), given.settings.names("exclude_modules")
    if "target_modules" not in form.reads or not wanted or not (bounded(wanted) and bounded(excluded)):
        return
    adapted = {name[: stop + 1] for name in held for stop, letter in enumerate(name) if letter == "."}
    for path in places.modules:
        if path and given.settings.targets(path) and f"{PREFIX}{path}." not in adapted:
            raise PeftError(
                f"{given.folder} means {path!r} of this model as well and holds no tensors for it: "
                "load it into its own base"
            )


def write_peft(adapter: Adapter, folder: str | Path) -> Path:
    """Save an adapter as PEFT would: its two files, each written beside the old one and renamed over it.

    >>> import tempfile
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> folder = write_peft(attach(nn.Sequential(nn.Linear(4, 2)), LoRA(rank=2), at="0"), tempfile.mkdtemp())
    >>> sorted(file.name for file in folder.iterdir())
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    pieces = pieces_of(adapter)
    owning = [form for form in forms().values() if any(form.owns(piece) for piece in pieces)]
    form = next((f for f in owning if all(f.owns(p) or (f.saves and savable(p)) for p in pieces)), None)
    if form is None:
        held = ", ".join(sorted({type(piece.method).__name__ for piece in pieces}))
        raise PeftError(f"PEFT has no type that holds {held} at these sites: save it with adapter.save")
    written = form.write(pieces, Places.of(adapter.model, LIBRARY, PeftError))
    config = {**form.defaults, **common(adapter.model, form.type), **written.settings}
    return write_folder(Path(folder), config, written.tensors)
