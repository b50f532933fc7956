"""LN_TUNING: PEFT trains a copy of a norm layer; `Full` here, and of `Affine` and `Scale` what they make of the norm."""

from __future__ import annotations

from acclimate.methods import Affine, Full, Scale
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.pattern import names
from acclimate.store.peft.saved import read_saved, write_saved
from acclimate.store.peft.values import moved, values, whole
from acclimate.store.piece import Piece
from acclimate.store.places import Places, is_norm

__all__ = ["FORM"]

_INFIX = ".ln_tuning_layers"


def _owns(piece: Piece) -> bool:
    return type(piece.method) in (Affine, Full, Scale) and is_norm(piece.site)


def _read(given: Given, places: Places) -> list[Piece]:
    pieces: list[Piece] = []
    for name in sorted(given.left):
        place, _, attribute = name.rpartition(".")
        if place.startswith(PREFIX) and place.endswith(_INFIX):
            path = place.removeprefix(PREFIX).removesuffix(_INFIX)
            pieces += moved(given, places, name, path, attribute)
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    changed = values([piece for piece in pieces if _owns(piece)], places)
    more, saved = write_saved([piece for piece in pieces if not _owns(piece)], places, set(changed))
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in whole(changed, places, _INFIX).items()}
    targets = names(set(changed), set(places.modules))
    return Written({**tensors, **more}, {"target_modules": targets, "modules_to_save": saved})


FORM = Form(
    "LN_TUNING",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={"exclude_modules": None, "modules_to_save": None, "target_modules": None},
    reads=frozenset({"exclude_modules", "modules_to_save", "target_modules"}),
)
