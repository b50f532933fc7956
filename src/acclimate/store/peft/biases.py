"""Biases beside a LORA, as `Full` here.

bias         those of the adapted modules, or all of them, are trained
lora_bias    the second factor has one: B (A x) + c, which adds s c to the module's own
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from acclimate.methods import Full
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.pattern import ends
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.values import moved, values
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["read_biases", "read_offset", "write_biases"]

_ADAPTED = ".base_layer"


def read_biases(given: Given, places: Places) -> list[Piece]:
    """The pieces for biases; those of modules that are saved whole are left for them."""
    which, saved = given.settings.values.get("bias", "none"), given.settings.names("modules_to_save")
    if which not in ("none", "all", "lora_only"):
        raise given.settings.wrong("bias", "'none', 'all' or 'lora_only'")
    pieces: list[Piece] = []
    for name in sorted(given.left) if which != "none" else []:
        path, _, attribute = name.removeprefix(PREFIX).rpartition(".")
        if attribute == "bias" and name.startswith(PREFIX) and not any(ends(path, each) for each in saved):
            pieces += moved(given, places, name, path.removesuffix(_ADAPTED), "bias")
    return pieces


def read_offset(given: Given, places: Places, path: str, scale: float) -> list[Piece]:
    """The pieces for the second factor's bias of one module."""
    if given.settings.values.get("bias", "none") != "none":
        raise PeftError(
            f"{given.settings.path} trains biases by bias= and by lora_bias= at once: merge one of them in PEFT"
        )
    sites = places.at(path, "bias", given.folder)
    rows = given.take(f"{PREFIX}{path}.lora_B.bias", tuple(places.base(path, "bias").shape)) * scale
    return [
        Piece(Full(), site, {"delta": rows[slice(*(site.part or (None,)))].reshape(site.shape).contiguous()})
        for site in sites
    ]


def write_biases(
    pieces: list[Piece], adapted: Collection[str], places: Places
) -> tuple[dict[str, Tensor], str, list[Piece]]:
    """The tensors of biases, the setting that says which they are, and the pieces that are no such biases."""
    found = [p for p in pieces if isinstance(p.method, Full) and p.site.readers[0].attribute == "bias"]
    every = {path for path, attribute in places.weights if attribute == "bias"}
    which = "all" if {p.site.path for p in found} == every else "lora_only"
    paths = every if which == "all" else every.intersection(adapted)
    mine = [piece for piece in found if piece.site.path in paths]
    if not mine:
        return {}, "none", pieces
    changed = values(mine, places)
    tensors = {
        f"{PREFIX}{path}{_ADAPTED if path in adapted else ''}.bias": (
            changed[path]["bias"] if path in changed else places.base(path, "bias")
        )
        for path in sorted(paths)
    }
    return tensors, which, [piece for piece in pieces if piece not in mine]
