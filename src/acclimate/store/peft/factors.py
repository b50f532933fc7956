"""The factors of one module as PEFT shapes them, and several updates of one matrix as a single pair of factors.

s1 B1 A1 + s2 B2 A2 = s1 [B1, (s2/s1) B2] [A1; A2]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from acclimate.methods import DoRA, LoRA
from acclimate.sites import Site
from acclimate.sites.layout import Convolution, Lookup, Matrix, Transposed
from acclimate.store.peft.refusal import PeftError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["MAGNITUDE", "Shapes", "joined", "magnitude"]

MAGNITUDE = "lora_magnitude_vector"


@dataclass(frozen=True)
class Shapes:
    """Names and shapes of the factors of one module's weight; ``kernel`` are a convolution's trailing ones."""

    a: str
    b: str
    rows: int
    columns: tuple[int, ...]
    kernel: tuple[int, ...] = ()

    @staticmethod
    def of(site: Site, source: Any) -> Shapes:
        layout = site.layout
        if isinstance(layout, Convolution):
            if set(layout.dilation) != {1}:
                raise PeftError(
                    f"{site.path!r} is dilated, and PEFT's LoRA leaves the dilation out: it has no equal here"
                )
            ones = (1,) * len(layout.stride)
            return Shapes("lora_A.weight", "lora_B.weight", layout.shape[0], layout.shape[1:], ones)
        if isinstance(layout, Lookup) and layout.projects:
            return Shapes("lora_embedding_A", "lora_embedding_B", layout.shape[1], layout.shape[:1])
        if isinstance(layout, Matrix):
            rows, columns = reversed(layout.shape) if isinstance(layout, Transposed) else layout.shape
            return Shapes("lora_A.weight", "lora_B.weight", rows, (columns,))
        raise PeftError(
            f"{source} adapts {site.key} of a {site.type}, where PEFT's LoRA and the one here have no common form: "
            "they have one at linear layers, Conv1D, ungrouped convolutions and embeddings"
        )

    def down(self, rank: int) -> tuple[int, ...]:
        return (rank, *self.columns)

    def up(self, rank: int) -> tuple[int, ...]:
        return (self.rows, rank, *self.kernel)

    @property
    def magnitude(self) -> tuple[int, ...]:
        return (1, self.rows, *self.kernel) if self.kernel else (self.rows,)


def joined(pieces: Sequence[Piece], rows: int, more: Sequence[str] = ()) -> tuple[LoRA, Tensor, Tensor]:
    """(method, A, B) of one matrix of so many rows, in the scale of that method, from updates of it or of its parts, which may
    hold ``more`` roles."""
    methods = [piece.method for piece in pieces if isinstance(piece.method, LoRA)]
    lead = max(methods, key=lambda method: method.scale)
    blocks: list[tuple[Piece, Tensor, Tensor]] = []
    for piece, method in zip(pieces, methods, strict=True):
        held = piece.tensors
        piece.expect(["down", "up", "down0", "up0", "magnitude", *more])
        ratio = 1.0 if method.scale == lead.scale else method.scale / lead.scale
        blocks.append((piece, held["down"], held["up"] if ratio == 1 else held["up"] * ratio))
        if "down0" in held:
            blocks.append((piece, held["down0"], held["up0"] * -ratio))
    common = len({id(down) for _, down, _ in blocks}) == 1 and len({p.site.key for p in pieces}) == len(blocks)
    downs = [blocks[0][1]] if common else [down for _, down, _ in blocks]
    up = downs[0].new_zeros(rows, sum(len(down) for down in downs))
    column = 0
    for piece, _, factor in blocks:
        start, stop = piece.site.part or (0, rows)
        up[start:stop, column : column + factor.shape[1]] = factor
        column += 0 if common else factor.shape[1]
    return lead, torch.cat(downs), up


def magnitude(pieces: Sequence[Piece], rows: int, places: Places) -> Tensor:
    """The magnitude of every row of one matrix: the base's own norm where no piece has one."""
    site = pieces[0].site
    if len({piece.site.key for piece in pieces}) < len(pieces) or not all(type(p.method) is DoRA for p in pieces):
        raise PeftError(f"{site.path!r} carries two updates with magnitudes in between, and PEFT has one to a module")
    whole = site.part is None or sum(p.site.part[1] - p.site.part[0] for p in pieces if p.site.part) == rows
    base = torch.empty(rows, 1) if whole else places.base(site.path, site.readers[0].attribute)
    made = base if whole else site.layout.matrix(base).float().norm(dim=-1, keepdim=True)
    made = made.to(pieces[0].tensors["magnitude"])
    for piece in pieces:
        start, stop = piece.site.part or (0, rows)
        made[start:stop] = piece.tensors["magnitude"]
    return made
