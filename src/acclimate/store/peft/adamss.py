"""ADAMSS: `AdaMSS`, whose groups are found anew from the base.

adamss_newB (r, in) <-> basis;  adamss_A.i (rank, r), adamss_B.i (rows of i, rank) <-> down[i], up[rows of i]
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods import AdaMSS
from acclimate.methods.subspaces import whole
from acclimate.sites.layout import Matrix
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, one, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_BASIS = "adamss_newB"


def _owns(piece: Piece) -> bool:
    return type(piece.method) is AdaMSS


def _read(given: Given, places: Places) -> list[Piece]:
    said = given.settings
    method = AdaMSS(
        groups=said.whole("num_subspaces"),
        rank=said.whole("subspace_rank"),
        directions=said.whole("r"),
        seed=int(said.number("random_seed", 0)),
    )
    pieces = []
    for prefix, site in adapted(given, places, _BASIS):
        method.check_site(site)
        _, known, group = method.decomposed(whole(site))
        basis = given.take(f"{prefix}{_BASIS}", tuple(known.shape))
        if (known - known @ basis.mT @ basis).abs().max() > 0.05:
            raise PeftError(f"{prefix}{_BASIS} in {given.folder} is of another base: load it into its own")
        sizes = group.bincount(minlength=min(method.groups, len(group))).tolist()
        down, up = torch.zeros(len(sizes), method.rank, len(basis)), torch.zeros(len(group), method.rank)
        for number, rows in enumerate(sizes):
            rank = max(1, min(rows, method.rank))
            down[number, :rank] = given.take(f"{prefix}adamss_A.{number}", (rank, len(basis)))
            up[group == number, :rank] = given.take(f"{prefix}adamss_B.{number}", (rows, rank))
        pieces.append(Piece(method, site, {"basis": basis, "group": group, "down": down, "up": up}))
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    mine = [piece for piece in pieces if _owns(piece)]
    method = mine[0].method
    if not isinstance(method, AdaMSS) or any(piece.method != method for piece in mine):
        raise PeftError("PEFT has one setting for all of an ADAMSS, and here are several: save them apart")
    tensors: dict[str, Tensor] = {}
    for piece in mine:
        piece.expect(["basis", "group", "down", "up"])
        site = one(places.at(piece.site.path, "weight", "the adapter"), "the adapter")
        if type(site.layout) is not Matrix:
            raise PeftError(
                f"PEFT has ADAMSS at linear layers alone, and {site.key} is a {site.type}: save it with adapter.save"
            )
        places.base(site.path, "weight")
        group = piece.tensors["group"]
        if not torch.equal(method.decomposed(whole(site))[2], group):
            raise PeftError(
                f"PEFT would find other groups of rows in {site.key} than this adapter has: save it with adapter.save"
            )
        tensors[f"{site.path}.{_BASIS}"] = piece.tensors["basis"]
        for number, down in enumerate(piece.tensors["down"]):
            up = piece.tensors["up"][group == number]
            rank = max(1, min(len(up), method.rank))
            if up[:, rank:].any() and down[rank:].any():  # more ranks than rows: the same product in fewer
                down, up = up @ down, torch.eye(len(up))
            tensors[f"{site.path}.adamss_A.{number}"] = down[:rank]
            tensors[f"{site.path}.adamss_B.{number}"] = up[:, :rank]
    return written(
        pieces, _owns, places, tensors,
        r=method.directions, num_subspaces=method.groups, subspace_rank=method.rank, random_seed=method.seed,
    )  # fmt: skip


FORM = Form(
    "ADAMSS",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        **{name: value for name, value in DEFAULTS.items() if name != "exclude_modules"},
        "asa_importance_beta": 0.85, "asa_schedule_exponent": 3.0, "asa_target_subspaces": 50, "asa_uncertainty_beta": 0.85,
        "final_warmup": 1000, "init_warmup": 50, "init_weights": "orthogonal", "mask_interval": 100, "num_subspaces": 5, "r": 100,
        "random_seed": 0, "subspace_rank": 1, "svd_threshold": 0.1, "use_asa": False, "use_dynamic_rank": False,
    },
    reads=READS | {"num_subspaces", "subspace_rank", "random_seed"},
    harmless=frozenset(
        {
            "asa_importance_beta", "asa_schedule_exponent", "asa_target_subspaces", "asa_uncertainty_beta", "final_warmup",
            "init_warmup", "init_weights", "mask_interval", "svd_threshold", "use_asa",
        }
    ),
)  # fmt: skip
