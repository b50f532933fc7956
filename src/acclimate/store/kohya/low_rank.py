"""LoRA and LoCon: `LoRA`, and with ``dora_scale`` `DoRA`, at linear layers and convolutions.

    linear         lora_up (out, rank)        lora_down (rank, in)             W + (alpha / rank) up down
    convolution    lora_up (out, rank, 1, 1)  lora_down (rank, in, k, k)
    Tucker         lora_up, lora_mid (rank, rank, k, k), lora_down (rank, in, 1, 1)      read as A = mid down, which it is

``dora_scale`` (out, 1) is the magnitude of the rows; older files have (1, in), that of the columns, and are refused.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods import DoRA, LoRA
from acclimate.sites.layout import Convolution, Matrix
from acclimate.store.kohya.file import Block
from acclimate.store.kohya.form import Form
from acclimate.store.kohya.refusal import KohyaError
from acclimate.store.peft.factors import joined
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM", "sides"]


def sides(places: Places, path: str, source: object) -> tuple[int, tuple[int, ...]]:
    """The rows of a module's weight, and the shape of one: its inputs, and a convolution's kernel."""
    layout = places.at(path, "weight", str(source))[0].layout
    if type(layout) is not Matrix and not isinstance(layout, Convolution):
        raise KohyaError(
            f"{source} adapts {path!r}, a {places.type(path)}: this format adapts linear layers and ungrouped convolutions"
        )
    return layout.shape[0], layout.shape[1:]


def _read(block: Block, places: Places) -> list[Piece]:
    out, (into, *kernel) = sides(places, block.path, block.source)
    ones = [1] * len(kernel)
    up = block.take("lora_up.weight", out, None, *ones)
    rank = up.shape[1]
    if "lora_mid.weight" in block.left:
        mid = block.take("lora_mid.weight", rank, None, *kernel)
        inner = block.take("lora_down.weight", mid.shape[1], into)
        down = torch.einsum("mn...,ni->mi...", mid, inner)
    else:
        down = block.take("lora_down.weight", rank, into, *kernel)
    alpha, scaled = block.alpha(rank), "dora_scale" in block.left
    held = {"down": down.reshape(rank, -1).contiguous(), "up": up.reshape(out, rank).contiguous()}
    if scaled:
        if block.left["dora_scale"].shape[:1] != (out,):
            raise KohyaError(
                f"{block.name}.dora_scale in {block.source} has the shape {tuple(block.left['dora_scale'].shape)}: only the "
                "magnitudes of rows have a method here, not those of columns"
            )
        held["magnitude"] = block.take("dora_scale", out).reshape(out, 1)
    method = (DoRA if scaled else LoRA)(rank=rank, alpha=None if alpha == rank else alpha)
    pieces = []
    for site in places.at(block.path, "weight", str(block.source)):
        rows = slice(*(site.part or (None,)))
        own = {role: tensor if role == "down" else tensor[rows].contiguous() for role, tensor in held.items()}
        pieces.append(Piece(method, site, own))
    return pieces


def _write(pieces: list[Piece], places: Places) -> dict[str, Tensor]:
    path = pieces[0].site.path
    out, (into, *kernel) = sides(places, path, "the adapter")
    method, down, up = joined(pieces, out)
    rank, ones = len(down), [1] * len(kernel)
    found = {
        "lora_down.weight": down.reshape(rank, into, *kernel),
        "lora_up.weight": up.reshape(out, rank, *ones),
        "alpha": torch.tensor(method.scale * rank),
    }
    scaled = [piece for piece in pieces if type(piece.method) is DoRA]
    if scaled:
        if len(pieces) > 1:
            raise KohyaError(f"{path!r} carries several updates with magnitudes, and this format has one to a module")
        found["dora_scale"] = pieces[0].tensors["magnitude"].reshape(out, 1, *ones)
    return found


FORM = Form(
    "LoRA",
    roles=frozenset({"lora_up.weight", "lora_down.weight"}),
    owns=lambda piece: type(piece.method) in (LoRA, DoRA),
    read=_read,
    write=_write,
)
