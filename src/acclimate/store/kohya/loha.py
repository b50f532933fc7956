"""LoHa: `Hadamard` at linear layers and convolutions.

W + (alpha / rank) (w1_a w1_b) * (w2_a w2_b)        w_a (out, rank), w_b (rank, in k k)
Tucker: w_a (rank, out), w_b (rank, in), t (rank, rank, k, k), read as w_a^T and t w_b, which it is
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acclimate.methods import Hadamard
from acclimate.store.kohya.file import Block, only
from acclimate.store.kohya.form import Form
from acclimate.store.kohya.low_rank import sides
from acclimate.store.kohya.refusal import KohyaError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]


def _pair(block: Block, number: int, out: int, columns: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """(B, A) of one of the two factors."""
    a, b, t = (f"hada_w{number}_a", f"hada_w{number}_b", f"hada_t{number}")
    if t not in block.left:
        up = block.take(a, out, None)
        return up, block.take(b, up.shape[1], math.prod(columns))
    into, *kernel = columns
    core = block.take(t, None, None, *kernel)
    up, inner = block.take(a, core.shape[0], out), block.take(b, core.shape[1], into)
    return up.mT.contiguous(), torch.einsum("ij...,jr->ir...", core, inner).reshape(core.shape[0], -1)


def _read(block: Block, places: Places) -> list[Piece]:
    out, columns = sides(places, block.path, block.source)
    site = only(places.at(block.path, "weight", str(block.source)), "LoHa")
    (up, down), (up_by, down_by) = (_pair(block, number, out, columns) for number in (1, 2))
    rank = up.shape[1]
    if up_by.shape[1] != rank:
        raise KohyaError(f"{block.name} in {block.source} has factors of the ranks {rank} and {up_by.shape[1]}")
    alpha = block.alpha(rank)
    method = Hadamard(rank=rank, alpha=None if alpha == rank else alpha)
    return [Piece(method, site, {"down": down, "up": up, "down_by": down_by, "up_by": up_by})]


def _write(pieces: list[Piece], places: Places) -> dict[str, Tensor]:
    (piece,) = pieces
    sides(places, piece.site.path, "the adapter")
    held, method = piece.tensors, piece.method
    assert isinstance(method, Hadamard)
    return {
        "hada_w1_a": held["up"], "hada_w1_b": held["down"], "hada_w2_a": held["up_by"], "hada_w2_b": held["down_by"],
        "alpha": torch.tensor(method.scale * method.rank),
    }  # fmt: skip


FORM = Form(
    "LoHa",
    roles=frozenset({"hada_w1_a"}),
    owns=lambda piece: type(piece.method) is Hadamard,
    read=_read,
    write=_write,
)
