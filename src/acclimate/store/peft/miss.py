"""MISS with ``init_weights="bat"``: `Bone`. What it is without is another function, which no method here is.

miss_block (out / r, r, r) <-> blocks
"""

from __future__ import annotations

from acclimate.methods import Bone
from acclimate.sites.layout import Matrix
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, one, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]


def _owns(piece: Piece) -> bool:
    return type(piece.method) is Bone


def _read(given: Given, places: Places) -> list[Piece]:
    block, start = given.settings.whole("r"), given.settings.values.get("init_weights")
    if start != "bat":
        raise PeftError(
            f"{given.folder} is a MISS with init_weights={str(start)[:40]!r}, and a method here is 'bat' alone"
        )
    pieces = []
    for prefix, site in adapted(given, places, "miss_block"):
        shape = (site.shape[0] // block, block, block)
        pieces.append(Piece(Bone(block=block), site, {"blocks": given.take(f"{prefix}miss_block", shape)}))
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    mine = [piece for piece in pieces if _owns(piece)]
    blocks = {piece.tensors["blocks"].shape[-1] for piece in mine}
    sites = [one(places.at(piece.site.path, "weight", "the adapter"), "the adapter") for piece in mine]
    if len(blocks) > 1 or any(type(site.layout) is not Matrix for site in sites):
        raise PeftError("PEFT has one r for all of a MISS, at linear layers alone: save this adapter with adapter.save")
    tensors = {f"{site.path}.miss_block": piece.tensors["blocks"] for site, piece in zip(sites, mine, strict=True)}
    return written(pieces, _owns, places, tensors, r=blocks.pop(), init_weights="bat")


FORM = Form(
    "MISS",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={**DEFAULTS, "bias": "none", "mini_r": 1, "miss_dropout": 0.0, "r": 64},
    reads=READS | {"init_weights"},
    harmless=frozenset({"mini_r", "miss_dropout"}),
)
