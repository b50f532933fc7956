"""LoKr: `Kronecker` of one term, with A free.

W + s w1 (x) w2        w1 (a, a') or w1_a w1_b; w2 (out / a, in / a' ...) or w2_a w2_b, or with a Tucker core t2
s = alpha / rank, and 1 where neither factor has a rank
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from acclimate.methods import Kronecker
from acclimate.store.kohya.file import Block, only
from acclimate.store.kohya.form import Form
from acclimate.store.kohya.low_rank import sides
from acclimate.store.kohya.refusal import KohyaError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]


def _read(block: Block, places: Places) -> list[Piece]:
    out, (into, *kernel) = sides(places, block.path, block.source)
    site = only(places.at(block.path, "weight", str(block.source)), "LoKr")
    ranks: list[int] = []
    if "lokr_w1" in block.left:
        outer = block.take("lokr_w1", None, None)
    else:
        left = block.take("lokr_w1_a", None, None)
        outer = left @ block.take("lokr_w1_b", left.shape[1], None)
        ranks.append(left.shape[1])
    a, b = outer.shape
    if not (0 < a <= out and 0 < b <= into) or out % a or into % b:
        raise KohyaError(
            f"{block.name} in {block.source} has a factor of {a} x {b}, which does not divide the {out} x {into} of "
            f"{block.path!r}: load it into its own base"
        )
    inner = _inner(block, out // a, into // b, kernel, ranks)
    alpha = block.alpha(ranks[0] if ranks else 1)
    rank = inner["left"].shape[-1] if "left" in inner else None
    method = Kronecker(factor=(a, b), rank=rank, scale=alpha / ranks[0] if ranks else 1.0)
    return [Piece(method, site, {"outer": outer[None].contiguous(), **inner})]


def _inner(block: Block, out: int, into: int, kernel: list[int], ranks: list[int]) -> dict[str, Tensor]:
    """The second factor by the roles that `Kronecker` has for it; its columns run over the kernel too."""
    if "lokr_w2" in block.left:
        return {"inner": block.take("lokr_w2", out, into, *kernel).reshape(1, out, -1)}
    if "lokr_t2" in block.left:
        core = block.take("lokr_t2", None, None, *kernel)
        left = block.take("lokr_w2_a", core.shape[0], out).mT
        right = torch.einsum("ij...,jr->ir...", core, block.take("lokr_w2_b", core.shape[1], into))
    else:
        left = block.take("lokr_w2_a", out, None)
        right = block.take("lokr_w2_b", left.shape[1], math.prod([into, *kernel]))
    ranks.append(left.shape[1])
    return {"left": left[None].contiguous(), "right": right.reshape(1, left.shape[1], -1).contiguous()}


def _write(pieces: list[Piece], places: Places) -> dict[str, Tensor]:
    (piece,) = pieces
    out, (into, *kernel) = sides(places, piece.site.path, "the adapter")
    held, method = piece.tensors, piece.method
    assert isinstance(method, Kronecker)
    (outer,) = held["outer"]
    a, b = outer.shape
    if into % b:
        raise KohyaError(
            f"{method} at {piece.site.key} has a factor across inputs and kernel ({b} columns, {into} inputs): save it with "
            "adapter.save"
        )
    if "inner" in held:
        inner = held["inner"][0] * method.scale
        return {"lokr_w1": outer, "lokr_w2": inner.reshape(out // a, into // b, *kernel), "alpha": torch.tensor(1.0)}
    rank = held["left"].shape[-1]
    return {
        "lokr_w1": outer, "lokr_w2_a": held["left"][0], "lokr_w2_b": held["right"][0],
        "alpha": torch.tensor(method.scale * rank),
    }  # fmt: skip


FORM = Form(
    "LoKr",
    roles=frozenset({"lokr_w1", "lokr_w1_a"}),
    owns=lambda piece: type(piece.method) is Kronecker and piece.method.terms == 1,
    read=_read,
    write=_write,
)
