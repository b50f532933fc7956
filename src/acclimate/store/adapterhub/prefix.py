"""Prefix tuning of an encoder: `Prefix` at its attentions.

    flat      control_trans, read as (length, layers * 2, heads, width) <-> key, value (heads, length, width) of each layer
    else      the same from a network: control_trans.2 f(control_trans.0 wte)

It is written flat. One prefix is for all layers; the package keeps it in every attention too, as copies that are left out.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.methods import Prefix
from acclimate.sites import Site, find
from acclimate.store.adapterhub.folder import Given
from acclimate.store.adapterhub.form import Form
from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_POOL, _KIND, _SELF = "prefix_tuning", "prefix_tunings", "self_prefix"
_DEFAULTS: dict[str, Any] = {
    "architecture": "prefix_tuning", "bottleneck_size": 512, "cross_prefix": True, "dropout": 0.0, "encoder_prefix": True,
    "flat": False, "init_weights_seed": None, "leave_out": [], "non_linearity": "tanh", "prefix_length": 30,
    "shared_gating": True, "use_gating": False,
}  # fmt: skip


def _read(given: Given, places: Places) -> list[Piece]:
    given.only(_DEFAULTS, frozenset(_DEFAULTS) - {"use_gating"})
    middle = f"{_POOL}.{_KIND}.{given.name}.{_SELF}."
    named: dict[str, str] = {}
    for name in sorted(given.left):
        before, found, role = name.partition(middle)
        if found and not before.removesuffix(".").count("."):
            named[role] = name
    for name in sorted(given.left):  # the copies
        copy = re.search(rf"\.{_POOL}\.pool\.{_KIND}\.{re.escape(given.name)}\.{_SELF}\.(.+)", name)
        same = copy and copy[1] in named and torch.equal(given.left[name], given.left[named[copy[1]]])
        if same:
            given.left.pop(name)
    length = int(given.number("prefix_length", 30))
    out = given.config.get("leave_out") or []
    if not isinstance(out, list) or not all(isinstance(layer, int) for layer in out):
        raise HubError(f"{given.folder} says leave_out={str(out)[:40]}, and the numbers of layers were expected")
    sites = [site for layer, site in enumerate(find(places.model, "attention")) if layer not in out]
    heads, width = _heads(sites, given.folder)
    count = length * len(sites) * 2 * heads * width
    flat = given.take(named["control_trans"], count) if "control_trans" in named else _made(given, named, length, count)
    held = flat.reshape(length, len(sites), 2, heads, width).permute(1, 2, 3, 0, 4)  # (layers, 2, heads, length, width)
    return [
        Piece(Prefix(length=length), site, {"key": key.contiguous(), "value": value.contiguous()})
        for site, (key, value) in zip(sites, held, strict=True)
    ]


def _made(given: Given, named: dict[str, str], length: int, count: int) -> Tensor:
    """The prefix that the network makes."""
    if given.config.get("non_linearity", "tanh") != "tanh":
        raise HubError(
            f"{given.folder} makes its prefix by another bend than tanh: save it from there with eject_prefix_tuning"
        )

    def take(role: str, *shape: int | None) -> Tensor:
        return given.take(named.get(role, f"{_SELF}.{role}"), *shape)

    table = take("wte.weight", length, None)
    inner = take("control_trans.0.weight", None, table.shape[1])
    z = torch.tanh(F.linear(table, inner, take("control_trans.0.bias", len(inner))))
    last = take("control_trans.2.weight", count // length, len(inner))
    return F.linear(z, last, take("control_trans.2.bias", count // length))


def _heads(sites: list[Site], source: object) -> tuple[int, int]:
    other = next((site.type for site in sites if not site.type.endswith("SelfAttention")), None)
    if other is not None:
        raise HubError(f"{source} is a prefix for a {other}: those of networks like BERT alone have a form here")
    shapes = {site.heads[1:] for site in sites if site.heads is not None}
    if len(shapes) != 1 or any(site.heads is None for site in sites):
        raise HubError(
            f"{source} is a prefix for attentions of one shape, and this model has {len(shapes)} kinds of them"
        )
    return next(iter(shapes))


def _write(pieces: list[Piece], places: Places) -> tuple[dict[tuple[str, str, str], Tensor], dict[str, Any]]:
    every = find(places.model, "attention")
    by_key = {piece.site.key: piece.tensors for piece in pieces}
    lengths = {tensors["key"].shape[1] for tensors in by_key.values()}
    sites = [site for site in every if site.key in by_key]
    if len(lengths) > 1 or len(by_key) < len(pieces):
        raise HubError(
            "AdapterHub has one prefix of one length in a layer, and this adapter another: save it with adapter.save"
        )
    _heads(sites, "the adapter")
    both = torch.stack([torch.stack([by_key[site.key]["key"], by_key[site.key]["value"]]) for site in sites])
    flat = both.permute(3, 0, 1, 2, 4).reshape(-1)  # from (layers, 2, heads, length, width)
    prefix = str(getattr(places.model, "base_model_prefix", "") or "")
    pool = f"{prefix}.{_POOL}" if prefix in places.modules and prefix else _POOL
    left = [layer for layer, site in enumerate(every) if site.key not in by_key]
    return {(pool, _KIND, f"{_SELF}.control_trans"): flat}, {
        **_DEFAULTS, "flat": True, "prefix_length": lengths.pop(), "leave_out": left,
    }  # fmt: skip


FORM = Form(
    "prefix",
    means=lambda config: config.get("architecture") == "prefix_tuning",
    owns=lambda piece: type(piece.method) is Prefix,
    read=_read,
    write=_write,
)
