"""Adapters to and from the single safetensors files of kohya's scripts and LyCORIS, which need not be installed.

Every type has a file; those that no method here is, are refused by name. A file is read as a stranger's.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from acclimate.engine import Adapter
from acclimate.engine.adapter import taken
from acclimate.engine.method import MethodError
from acclimate.store.kohya.file import Block, blocks, names_in, write_file
from acclimate.store.kohya.form import Form, forms
from acclimate.store.kohya.refusal import KohyaError
from acclimate.store.piece import Piece, pieces_of
from acclimate.store.places import Places
from acclimate.store.seat import seat

__all__ = ["KohyaError", "holds_kohya", "read_kohya", "write_kohya"]

LIBRARY = "kohya's format"
_UNMET = {
    "a1.weight": "GLoRA",
    "oft_blocks": "OFT or BOFT",
    "oft_diag": "OFT",
    "on_input": "IA3, which its own library computes in two ways",
    "q_down": "T-LoRA",
    "emb_params": "an embedding",
    "weight": "a bare weight",
}
"""Types by a role that only they have, for which no method here is the same function."""


def read_kohya(model: nn.Module, path: str | Path, name: str | None = None, prefix: str | None = None) -> Adapter:
    """Load an adapter of kohya's scripts or LyCORIS: resident and enabled. Its name is the file's if none is given.

    ``prefix`` says which of several models in the file this is (``lora_unet``, ``lora_te1``). Nothing changes if this raises.

    >>> import tempfile
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> path = write_kohya(attach(model, LoRA(rank=2), at="0"), tempfile.mkdtemp() + "/style.safetensors")
    >>> read_kohya(model, path).name
    'style'
    """
    path = Path(path)
    places = Places.of(model, LIBRARY, KohyaError)
    name = path.stem if name is None else name
    taken(model, name)
    pieces: list[Piece] = []
    try:
        for block in blocks(path, places, prefix):
            form = _form(block)
            pieces += form.read(block, places)
            block.finish(form.type)
        return seat(model, name, pieces, KohyaError)
    except MethodError as error:
        raise KohyaError(f"{path} describes what no method here can be: {error}") from error


def _form(block: Block) -> Form:
    known = forms()
    found = [form for form in known.values() if form.roles & block.left.keys()]
    if len(found) == 1:
        return found[0]
    if found:
        raise KohyaError(f"{block.source} has {' and '.join(form.type for form in found)} at once at {block.path!r}")
    unmet = next((what for role, what in _UNMET.items() if role in block.left), f"a type with {min(block.left)[:60]!r}")
    raise KohyaError(
        f"{block.source} has {unmet} at {block.path!r}, and those read here are {', '.join(known)}: merge it in its own library"
    )


def write_kohya(adapter: Adapter, path: str | Path, prefix: str = "lora_unet") -> Path:
    """Save an adapter as kohya's scripts and LyCORIS would, written beside the old file and renamed over it.

    >>> import tempfile
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> adapter = attach(nn.Sequential(nn.Linear(4, 2)), LoRA(rank=2), at="0")
    >>> write_kohya(adapter, tempfile.mkdtemp() + "/style.safetensors").name
    'style.safetensors'
    """
    places = Places.of(adapter.model, LIBRARY, KohyaError)
    by_path: dict[str, list[Piece]] = {}
    for piece in pieces_of(adapter):
        by_path.setdefault(piece.site.path, []).append(piece)
    written: dict[str, dict[str, Tensor]] = {}
    for path_of, pieces in by_path.items():
        form = next((form for form in forms().values() if all(map(form.owns, pieces))), None)
        if form is None:
            held = ", ".join(dict.fromkeys(type(piece.method).__name__ for piece in pieces))
            raise KohyaError(
                f"{LIBRARY} has no type that holds {held} at {path_of!r}: make it a LoRA first, with acclimate.fold(adapter, "
                "rank=...), or save it with adapter.save"
            )
        for piece in pieces:
            places.alone(piece.site)
        written[path_of] = form.write(pieces, places)
    return write_file(Path(path), prefix, written, places)


def holds_kohya(path: Path) -> bool:
    """Whether a file's tensors are called as in this format."""
    roles = {role for form in forms().values() for role in form.roles} | _UNMET.keys()
    return any(name.partition(".")[2] in roles for name in names_in(path))
