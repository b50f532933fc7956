"""LOHA: `Hadamard` at linear layers and convolutions, whose kernels lie in the columns.

(alpha / r) (w1_a w1_b) * (w2_a w2_b)        w1_a <-> up, w1_b <-> down, w2_a <-> up_by, w2_b <-> down_by
"""

from __future__ import annotations

from torch import Tensor

from acclimate.methods import Hadamard
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, one, patterns, ranks, written
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_NAMES = {"hada_w1_a": "up", "hada_w1_b": "down", "hada_w2_a": "up_by", "hada_w2_b": "down_by"}


def _owns(piece: Piece) -> bool:
    return type(piece.method) is Hadamard


def _read(given: Given, places: Places) -> list[Piece]:
    pieces: list[Piece] = []
    for prefix, site in adapted(given, places, *_NAMES):
        rank, alpha = ranks(given, site.path)
        out, into = site.shape
        held = {
            ours: given.take(f"{prefix}{theirs}", (out, rank) if "up" in ours else (rank, into))
            for theirs, ours in _NAMES.items()
        }
        pieces.append(Piece(Hadamard(rank=rank, alpha=None if alpha == rank else alpha), site, held))
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    tensors: dict[str, Tensor] = {}
    said: dict[str, tuple[int, float]] = {}
    for piece in pieces:
        if isinstance(piece.method, Hadamard):
            path = one(places.at(piece.site.path, "weight", "the adapter"), "the adapter").path
            said[path] = piece.method.rank, piece.method.scale * piece.method.rank
            tensors |= {f"{path}.{theirs}": piece.tensors[ours] for theirs, ours in _NAMES.items()}
    return written(pieces, _owns, places, tensors, **patterns(said))


FORM = Form(
    "LOHA",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        **DEFAULTS, "alpha": 8, "alpha_pattern": {}, "module_dropout": 0.0, "r": 8, "rank_dropout": 0.0, "rank_pattern": {},
        "use_effective_conv2d": False,
    },
    reads=READS | {"alpha", "alpha_pattern", "rank_pattern"},
    harmless=frozenset({"init_weights", "module_dropout", "rank_dropout"}),
)  # fmt: skip
