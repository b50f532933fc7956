"""`modules_to_save`: modules whose parameters are trained whole beside the adapter, as `Head` or `Full` here."""

from __future__ import annotations

from torch import Tensor, nn

from acclimate.methods import Affine, Full, Head
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.values import moved, same_state, values, whole
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["read_saved", "savable", "write_saved"]

_COPY = ".base_layer.weight"


def savable(piece: Piece) -> bool:
    """Whether a piece stands for new values of a module's parameters."""
    return type(piece.method) in (Full, Affine, Head)


def read_saved(given: Given, places: Places) -> list[Piece]:
    """The pieces for what is left of a folder: saved modules, and copies of the base, which say nothing."""
    wanted = given.settings.names("modules_to_save")
    ends = [wanted] if isinstance(wanted, str) else wanted
    found: dict[str, dict[str, str]] = {}
    for name in sorted(given.left):
        plain = name.removeprefix(PREFIX)
        if plain.endswith(_COPY) and plain.removesuffix(_COPY) in places.modules:
            same_state(given, places, name, plain.removesuffix(_COPY), "weight")
            continue
        path, _, attribute = plain.rpartition(".")
        steps = path.split(".")
        above = [".".join(steps[:count]) for count in range(1, len(steps) + 1)]
        if name != plain and any(each.endswith(end) for each in above for end in ends):
            found.setdefault(path, {})[attribute] = name
    return [piece for path, names in found.items() for piece in _module(given, places, path, names)]


def _module(given: Given, places: Places, path: str, names: dict[str, str]) -> list[Piece]:
    held = places.modules.get(path)
    site = places.calls.get(path)
    if isinstance(held, nn.Linear) and site is not None and site.role == "head" and names.keys() == {"weight", "bias"}:
        places.at(path, "weight", given.folder)
        offset = given.take(names["bias"], (held.out_features,))
        matrix = given.take(names["weight"], (held.out_features, held.in_features))
        return [Piece(Head(classes=held.out_features), site, {"matrix": matrix, "offset": offset})]
    return [p for attribute, name in names.items() for p in moved(given, places, name, path, attribute)]


def write_saved(pieces: list[Piece], places: Places, adapted: set[str]) -> tuple[dict[str, Tensor], list[str] | None]:
    """The tensors of saved modules, and the names that `modules_to_save` finds them by."""
    changed = values([p for p in pieces if not isinstance(p.method, Head)], places)
    for piece in pieces:
        if isinstance(piece.method, Head):
            if piece.site.path in changed:
                raise PeftError(
                    f"{piece.site.path!r} has a new head and other changes, and PEFT saves one module there"
                )
            changed[piece.site.path] = _head(piece, places)
    for path in changed.keys() & adapted:
        raise PeftError(f"{path!r} is adapted and changed whole, and PEFT does one of these to a module")
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in whole(changed, places).items()}
    return tensors, _names(set(changed), list(places.modules)) if changed else None


def _head(piece: Piece, places: Places) -> dict[str, Tensor]:
    piece.expect(["matrix", "offset"])
    held = piece.site.module
    if not isinstance(held, nn.Linear):
        raise PeftError(
            f"{piece.method} at {piece.site.key} replaces no linear layer, and PEFT only saves the model's own"
        )
    places.at(piece.site.path, "weight", "the adapter")
    matrix, offset = piece.tensors["matrix"], piece.tensors["offset"]
    if matrix.shape != held.weight.shape:
        raise PeftError(
            f"{piece.method} at {piece.site.key} has {matrix.shape[0]} classes and the model's head {held.out_features}: "
            f"PEFT keeps the model's own shape, so give the model a head of {matrix.shape[0]} first"
        )
    if held.bias is None and bool(offset.any()):
        raise PeftError(
            f"{piece.method} at {piece.site.key} has offsets, and the model's head has no bias for PEFT to save"
        )
    return {"weight": matrix, "bias": offset} if held.bias is not None else {"weight": matrix}


def _names(paths: set[str], everyone: list[str]) -> list[str]:
    """The shortest names that PEFT, which compares the ends of paths by letters, finds these modules alone by."""
    found = set()
    for path in paths:
        steps = path.split(".")
        ends = (".".join(steps[-count:]) for count in range(1, len(steps) + 1))
        name = next((end for end in ends if all(p in paths for p in everyone if p.endswith(end))), None)
        if name is None:
            raise PeftError(
                f"PEFT finds modules to save by the end of their path, and {path!r} is the end of another's"
            )
        found.add(name)
    return sorted(found)
