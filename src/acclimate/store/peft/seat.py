"""Pieces into a model, as one resident adapter. Nothing changes if this raises."""

from __future__ import annotations

from torch import Tensor, nn

from acclimate.engine import Adapter, Method
from acclimate.engine.adapter import build, place_sites, settle
from acclimate.engine.registry import Entry, Part
from acclimate.store.peft.piece import Piece
from acclimate.store.peft.refusal import PeftError

__all__ = ["seat"]


def seat(model: nn.Module, name: str, pieces: list[Piece]) -> Adapter:
    """Make the adapter: one part a method, tensors that pieces share lying there once."""
    by_method: dict[Method, list[Piece]] = {}
    for piece in pieces:
        by_method.setdefault(piece.method, []).append(piece)
    parts = [Part(method, tuple(p.site.key for p in found)) for method, found in by_method.items()]
    for found in by_method.values():
        for piece in found:
            piece.method.check_site(piece.site)
    entry = Entry(name, parts, build(parts, [[p.site for p in found] for found in by_method.values()], None, 0))
    given: dict[str, Tensor] = {}
    for index, found in enumerate(by_method.values()):
        for piece in found:
            given |= {f"{index}/{piece.site.key}/{role}": tensor for role, tensor in piece.tensors.items()}
    expected = entry.tensors()
    for key, tensor in expected.items():
        if key not in given or given[key].shape != tensor.shape:
            raise PeftError(f"{key} should have shape {tuple(tensor.shape)}, which this folder does not give it")
    device = next(iter(expected.values())).device
    moved: dict[int, Tensor] = {}
    tensors = {key: moved.setdefault(id(given[key]), given[key].to(device)) for key in expected}
    registry = place_sites(model, {piece.site.key: piece.site for piece in pieces})
    settle(registry, entry, tensors)
    registry.entries[name] = entry
    registry.refresh()
    return Adapter(model, name)
