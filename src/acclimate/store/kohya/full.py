"""Full, and norms: `Full` at a weight and its bias; of `Affine` and `Scale`, what they make of them.

W + diff,  b + diff_b        at norm layers W + w_norm, b + b_norm
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from acclimate.methods import Affine, Full, Scale
from acclimate.store.kohya.file import Block
from acclimate.store.kohya.form import Form
from acclimate.store.peft.values import values
from acclimate.store.piece import Piece
from acclimate.store.places import Places, is_norm

__all__ = ["FULL", "NORM"]


def _reading(weight: str, bias: str) -> Callable[[Block, Places], list[Piece]]:
    def read(block: Block, places: Places) -> list[Piece]:
        pieces: list[Piece] = []
        for role, attribute in ((weight, "weight"), (bias, "bias")):
            if role not in block.left:
                continue
            sites = places.at(block.path, attribute, str(block.source))
            layout = sites[0].layout
            delta = layout.matrix(block.take(role, *layout.shape).reshape(layout.shape))
            for site in sites:
                rows = delta[slice(*(site.part or (None,)))]
                pieces.append(Piece(Full(), site, {"delta": rows.reshape(site.shape).contiguous()}))
        block.left.pop("alpha", None)
        return pieces

    return read


def _writing(weight: str, bias: str) -> Callable[[list[Piece], Places], dict[str, Tensor]]:
    def write(pieces: list[Piece], places: Places) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for path, changed in values(pieces, places).items():
            base = places.base(path, "weight").float()
            found[weight] = changed.get("weight", base) - base
            if "bias" in changed:
                found[bias] = changed["bias"] - places.base(path, "bias").float()
        return found

    return write


FULL = Form(
    "full",
    roles=frozenset({"diff"}),
    owns=lambda piece: type(piece.method) in (Affine, Full, Scale) and not is_norm(piece.site),
    read=_reading("diff", "diff_b"),
    write=_writing("diff", "diff_b"),
)
NORM = Form(
    "norm",
    roles=frozenset({"w_norm"}),
    owns=lambda piece: type(piece.method) in (Affine, Full, Scale) and is_norm(piece.site),
    read=_reading("w_norm", "b_norm"),
    write=_writing("w_norm", "b_norm"),
)
