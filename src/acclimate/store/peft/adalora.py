"""ADALORA: `AdaLoRA` at linear layers and convolutions.

    lora_alpha / (init_r + 1e-5) B diag(E) A        lora_A <-> down, lora_B <-> up, lora_E (rank, 1) <-> values

A module of which ranks were taken away keeps the scale of ``init_r``; ``rank_pattern`` says which are left.
"""

from __future__ import annotations

from torch import Tensor

from acclimate.methods import AdaLoRA
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.lora import FORM as LORA
from acclimate.store.peft.ranked import READS, adapted, one, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_A, _B, _E = "lora_A", "lora_B", "lora_E"
_SMALL = 1e-5


def _owns(piece: Piece) -> bool:
    return type(piece.method) is AdaLoRA


def _read(given: Given, places: Places) -> list[Piece]:
    settings = given.settings
    start, dropout = settings.whole("init_r"), settings.number("lora_dropout", 0)
    scale = (settings.number("lora_alpha", 8) or start) / (start + _SMALL)
    pieces: list[Piece] = []
    for prefix, site in adapted(given, places, _A, _B, _E):
        out, into = site.shape
        held = given.left.get(f"{prefix}{_E}")
        rank = held.shape[0] if held is not None and held.dim() else 0
        down, up = given.take(f"{prefix}{_A}", (rank, into)), given.take(f"{prefix}{_B}", (out, rank))
        values = given.take(f"{prefix}{_E}", (rank, 1)).reshape(-1)
        if rank:
            method = AdaLoRA(rank=rank, alpha=scale * rank, dropout=dropout)
            pieces.append(Piece(method, site, {"down": down, "up": up, "values": values}))
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    found = [(piece, piece.method) for piece in pieces if isinstance(piece.method, AdaLoRA)]
    start, scale = max(method.rank for _, method in found), found[0][1].scale
    dropouts = {method.dropout for _, method in found}
    if len(dropouts) > 1:
        raise PeftError("PEFT has one lora_dropout for all of an adapter: save the parts that differ apart")
    tensors: dict[str, Tensor] = {}
    pattern: dict[str, list[bool]] = {}
    for piece, method in found:
        path = one(places.at(piece.site.path, "weight", "the adapter"), "the adapter").path
        piece.expect(["down", "up", "values"])
        values = piece.tensors["values"] * (1.0 if method.scale == scale else method.scale / scale)
        tensors |= {f"{path}.{_A}": piece.tensors["down"], f"{path}.{_B}": piece.tensors["up"]}
        tensors[f"{path}.{_E}"] = values.reshape(-1, 1)
        pattern[f"{path}.{_E}"] = [rank < method.rank for rank in range(start)]
    whole = all(all(kept) for kept in pattern.values())
    return written(
        pieces, _owns, places, tensors, init_r=start, lora_alpha=scale * (start + _SMALL), lora_dropout=dropouts.pop(),
        rank_pattern=None if whole else pattern, total_step=1,
    )  # fmt: skip


FORM = Form(
    "ADALORA",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        **LORA.defaults, "beta1": 0.85, "beta2": 0.85, "deltaT": 1, "init_r": 12, "orth_reg_weight": 0.5, "rank_pattern": None,
        "target_r": 8, "tfinal": 0, "tinit": 0, "total_step": None,
    },
    reads=READS | {"init_r", "lora_alpha", "lora_dropout", "rank_pattern"},
    harmless=LORA.harmless | {
        "beta1", "beta2", "deltaT", "init_lora_weights", "init_weights", "orth_reg_weight", "target_r", "tfinal", "tinit",
        "total_step",
    },
)  # fmt: skip
