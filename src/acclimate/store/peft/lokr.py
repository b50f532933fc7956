"""LOKR: `Kronecker` of one term at linear layers and convolutions.

    (alpha / r) w1 (x) w2        w1 <-> outer, or w1_a w1_b; w2 <-> inner, or w2_a <-> left and w2_b <-> right

PEFT makes the shapes again of ``decompose_factor`` and ``r``, so what it can be told of is written: one factor for all modules,
and w2 in two factors where r is below half its larger side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods import Kronecker
from acclimate.sites import Site
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, one, patterns, ranks, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM", "split"]

_NAMES = ("lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a")


def split(side: int, factor: int) -> tuple[int, int]:
    """A side as a product of two, the first as PEFT makes it of a factor: the factor if it divides, or its nearest below the root.

    >>> split(128, -1), split(128, 4), split(250, 16)
    ((8, 16), (4, 32), (10, 25))
    """
    if factor > 0 and side % factor == 0:
        return factor, side // factor
    most = side if factor == -1 else factor
    small = max(d for d in range(1, max(2, most + 1)) if side % d == 0 and (d * d <= side or d == 1))
    return small, side // small


def _owns(piece: Piece) -> bool:
    return type(piece.method) is Kronecker and piece.method.terms == 1


def _read(given: Given, places: Places) -> list[Piece]:
    factor = given.settings.values.get("decompose_factor", -1)
    if not isinstance(factor, int) or isinstance(factor, bool) or not (factor == -1 or 0 < factor < 2**31):
        raise given.settings.wrong("decompose_factor", "-1 or a whole number above 0")
    pieces: list[Piece] = []
    for prefix, site in adapted(given, places, *_NAMES):
        rank, alpha = ranks(given, site.path)
        (a, out), (b, into), kernel = _sides(site, factor)
        if f"{prefix}lokr_w1" in given.left:
            outer = given.take(f"{prefix}lokr_w1", (a, b))
        else:
            outer = given.take(f"{prefix}lokr_w1_a", (a, rank)) @ given.take(f"{prefix}lokr_w1_b", (rank, b))
        columns = into * kernel.numel()
        held = {"outer": outer[None].contiguous()}
        whole = f"{prefix}lokr_w2" in given.left
        if whole:
            held["inner"] = given.take(f"{prefix}lokr_w2", (out, into, *kernel)).reshape(1, out, columns)
        else:
            held["left"] = given.take(f"{prefix}lokr_w2_a", (out, rank))[None]
            held["right"] = given.take(f"{prefix}lokr_w2_b", (rank, columns))[None]
        method = Kronecker(factor=(a, b), rank=None if whole else rank, scale=alpha / rank)
        pieces.append(Piece(method, site, held))
    return pieces + read_saved(given, places)


def _sides(site: Site, factor: int) -> tuple[tuple[int, int], tuple[int, int], torch.Size]:
    """Both sides of a module's matrix, divided, and the kernel of a convolution."""
    rows, columns, *kernel = site.layout.shape
    return split(rows, factor), split(columns, factor), torch.Size(kernel)


def _write(pieces: list[Piece], places: Places) -> Written:
    mine = [piece for piece in pieces if _owns(piece)]
    sites = [one(places.at(piece.site.path, "weight", "the adapter"), "the adapter") for piece in mine]
    wanted = [tuple(piece.tensors["outer"].shape[1:]) for piece in mine]
    tried = [-1, *sorted({side for pair in wanted for side in pair})]

    def meant(factor: int) -> bool:
        found = ((_sides(site, factor)[0][0], _sides(site, factor)[1][0]) for site in sites)
        return all(sides == shape for sides, shape in zip(found, wanted, strict=True))

    factor = next((each for each in tried if meant(each)), None)
    if factor is None:
        raise PeftError(
            f"PEFT divides all matrices by one decompose_factor, and none gives {wanted[0][0]} x {wanted[0][1]} at "
            f"{sites[0].path!r} and what is elsewhere: save it with adapter.save"
        )
    tensors: dict[str, Tensor] = {}
    said: dict[str, tuple[int, float]] = {}
    for piece, site in zip(mine, sites, strict=True):
        method, held, path = piece.method, piece.tensors, site.path
        assert isinstance(method, Kronecker)
        (_, out), (_, into), kernel = _sides(site, factor)
        tensors[f"{path}.lokr_w1"] = held["outer"][0]
        half = -(-max(out, into) // 2)
        if method.rank is not None and method.rank < max(out, into) / 2:
            rank = method.rank
            tensors |= {f"{path}.lokr_w2_a": held["left"][0], f"{path}.lokr_w2_b": held["right"][0]}
        else:
            rank = max(half, method.rank or 1)
            inner = held["inner"][0] if method.rank is None else held["left"][0] @ held["right"][0]
            tensors[f"{path}.lokr_w2"] = inner.reshape(out, into, *kernel)
        said[path] = rank, method.scale * rank
    return written(pieces, _owns, places, tensors, decompose_factor=factor, **patterns(said))


FORM = Form(
    "LOKR",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        **DEFAULTS, "alpha": 8, "alpha_pattern": {}, "decompose_both": False, "decompose_factor": -1, "module_dropout": 0.0,
        "r": 8, "rank_dropout": 0.0, "rank_dropout_scale": False, "rank_pattern": {}, "use_effective_conv2d": False,
    },
    reads=READS | {"alpha", "alpha_pattern", "decompose_both", "decompose_factor", "rank_pattern"},
    harmless=frozenset({"init_weights", "module_dropout", "rank_dropout", "rank_dropout_scale"}),
)  # fmt: skip
