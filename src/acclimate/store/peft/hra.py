"""HRA: `HRA`, a chain of reflections of the inputs.

hra_u (in, r) <-> vectors (r, in)
"""

from __future__ import annotations

from acclimate.methods import HRA
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, one, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]


def _owns(piece: Piece) -> bool:
    return type(piece.method) is HRA


def _read(given: Given, places: Places) -> list[Piece]:
    rank = given.settings.whole("r")
    pieces = [
        Piece(HRA(rank=rank), site, {"vectors": given.take(f"{prefix}hra_u", (site.shape[1], rank)).mT.contiguous()})
        for prefix, site in adapted(given, places, "hra_u")
    ]
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    mine = [piece for piece in pieces if _owns(piece)]
    ranks = {len(piece.tensors["vectors"]) for piece in mine}
    if len(ranks) > 1:
        raise PeftError(
            f"PEFT has one r for all of an HRA, and this one has {min(ranks)} and {max(ranks)}: save them apart"
        )
    sites = [one(places.at(piece.site.path, "weight", "the adapter"), "the adapter") for piece in mine]
    tensors = {f"{site.path}.hra_u": piece.tensors["vectors"].mT for site, piece in zip(sites, mine, strict=True)}
    return written(pieces, _owns, places, tensors, r=ranks.pop())


FORM = Form(
    "HRA",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={**DEFAULTS, "apply_GS": False, "bias": "none", "r": 8},
    reads=READS,
    harmless=frozenset({"init_weights"}),
)
