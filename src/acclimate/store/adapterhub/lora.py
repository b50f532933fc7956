"""LoRA as `LoRA` and IA3 as `Scale`, at linear layers.

LoRA   loras.NAME.lora_A (rank, in), lora_B (out, rank)        W + (alpha / rank) B A
IA3    loras.NAME.lora_B (out, 1)                              alpha B (W x + b)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from acclimate.methods import LoRA, Scale
from acclimate.sites import Site
from acclimate.sites.layout import Matrix
from acclimate.store.adapterhub.folder import Given
from acclimate.store.adapterhub.form import Form
from acclimate.store.adapterhub.layers import by_layer, left_out
from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.peft.factors import joined
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["IA3", "LORA"]

_KIND = "loras"
_DEFAULTS: dict[str, Any] = {
    "alpha": 8, "architecture": "lora", "attn_matrices": ["q", "v"], "composition_mode": "add", "dropout": 0.0, "dtype": None,
    "init_weights": "lora", "init_weights_seed": None, "intermediate_lora": False, "leave_out": [], "output_lora": False,
    "r": 8, "selfattn_lora": True, "use_dora": False, "use_gating": False, "vera_b": None, "vera_d": None,
}  # fmt: skip
_READ = frozenset(_DEFAULTS) - {"use_dora", "use_gating", "vera_b", "vera_d"}
_ROLES = {"q": "q", "k": "k", "v": "v"}
_FEED_FORWARD = {"up": "intermediate_lora", "down": "output_lora"}


def _site(places: Places, path: str, source: object) -> Site:
    sites = places.at(path, "weight", str(source))
    if type(sites[0].layout) is not Matrix or len(sites) > 1:
        raise HubError(
            f"{source} adapts {path!r}, a {places.type(path)}, and only plain linear layers have a form here"
        )
    return sites[0]


def _read_lora(given: Given, places: Places) -> list[Piece]:
    given.only(_DEFAULTS, _READ)
    alpha, dropout = given.number("alpha", 8), given.config.get("dropout")
    pieces: list[Piece] = []
    for path, names in given.by_module(_KIND).items():
        site = _site(places, path, given.folder)
        out, into = site.shape
        down = given.take(names.get("lora_A", f"{path}.lora_A"), None, into)
        up = given.take(names.get("lora_B", f"{path}.lora_B"), out, len(down))
        rank = given.number("r", 8)
        if rank != len(down):
            raise HubError(f"{given.folder} says r={rank:g}, and its factors at {path!r} are of rank {len(down)}")
        method = LoRA(
            rank=len(down),
            alpha=None if alpha == rank else alpha,
            dropout=float(dropout) if isinstance(dropout, int | float) else 0.0,
        )
        pieces.append(Piece(method, site, {"down": down, "up": up}))
    return pieces


def _read_scale(given: Given, places: Places) -> list[Piece]:
    given.only({**_DEFAULTS, "init_weights": "ia3"}, _READ)
    pieces: list[Piece] = []
    for path, names in given.by_module(_KIND).items():
        site = _site(places, path, given.folder)
        factor = given.take(names.get("lora_B", f"{path}.lora_B"), site.shape[0], 1)
        pieces.append(Piece(Scale(), site, {"scale": factor.reshape(-1) * given.number("alpha", 1)}))
    return pieces


Written = tuple[dict[tuple[str, str, str], Tensor], dict[str, Any]]


def _write_lora(pieces: list[Piece], places: Places) -> Written:
    by_path: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_path.setdefault(_site(places, piece.site.path, "the adapter").path, []).append(piece)
    tensors: dict[tuple[str, str, str], Tensor] = {}
    scales: set[tuple[int, float, float]] = set()
    for path, found in by_path.items():
        method, down, up = joined(found, found[0].site.shape[-2])
        scales.add((len(down), method.scale, method.dropout))
        tensors |= {(path, _KIND, "lora_A"): down, (path, _KIND, "lora_B"): up}
    if len(scales) > 1:
        raise HubError(
            "AdapterHub has one rank, one alpha and one dropout for all of an adapter: save the parts that differ apart"
        )
    ((rank, scale, dropout),) = scales
    return tensors, {**_DEFAULTS, "r": rank, "alpha": scale * rank, "dropout": dropout, **_at(pieces, places)}


def _write_scale(pieces: list[Piece], places: Places) -> Written:
    tensors: dict[tuple[str, str, str], Tensor] = {}
    for piece in pieces:
        path = _site(places, piece.site.path, "the adapter").path
        before = tensors.get((path, _KIND, "lora_B"), torch.ones(1, 1))
        tensors[path, _KIND, "lora_B"] = before * piece.tensors["scale"].reshape(-1, 1)
    said = {"composition_mode": "scale", "init_weights": "ia3", "r": 1, "alpha": 1}
    return tensors, {**_DEFAULTS, **said, **_at(pieces, places)}


def _at(pieces: list[Piece], places: Places) -> dict[str, Any]:
    """The settings that name these places."""
    roles: dict[str, str] = {}
    for piece in pieces:
        role, path = piece.site.role or "", piece.site.path
        if role not in _ROLES and role not in _FEED_FORWARD:
            raise HubError(
                f"AdapterHub has no setting that means {path!r}: it adapts queries, keys, values and the feed-forward"
            )
        roles[path] = role
    _, leave_out = left_out(by_layer(roles), places)
    found = set(roles.values())
    return {
        "attn_matrices": [theirs for theirs, ours in _ROLES.items() if ours in found],
        "selfattn_lora": bool(found & _ROLES.keys()),
        **{setting: role in found for role, setting in _FEED_FORWARD.items()},
        "leave_out": leave_out,
    }


LORA = Form(
    "lora",
    means=lambda config: config.get("architecture") == "lora" and config.get("composition_mode", "add") == "add",
    owns=lambda piece: type(piece.method) is LoRA,
    read=_read_lora,
    write=_write_lora,
)
IA3 = Form(
    "ia3",
    means=lambda config: config.get("architecture") == "lora" and config.get("composition_mode") == "scale",
    owns=lambda piece: type(piece.method) is Scale,
    read=_read_scale,
    write=_write_scale,
)
