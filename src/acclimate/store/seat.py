"""Pieces into a model, as one resident adapter. Nothing changes if this raises."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from acclimate.engine import Adapter, Method
from acclimate.engine import placing as engine
from acclimate.engine.registry import Part
from acclimate.sites import Measured
from acclimate.store.piece import Piece
from acclimate.store.refusal import StoreError

__all__ = ["seat"]


def seat(model: nn.Module, name: str, pieces: list[Piece], error: type[StoreError]) -> Adapter:
    """Make the adapter: one part a method, tensors that pieces share lying there once."""
    by_method: dict[Method, list[Piece]] = {}
    for piece in pieces:
        by_method.setdefault(piece.method, []).append(piece)
    parts = [Part(method, tuple(p.site.key for p in found), _widths(found)) for method, found in by_method.items()]
    for found in by_method.values():
        for piece in found:
            piece.method.check_site(piece.site)
    given: dict[str, Tensor] = {}
    for index, found in enumerate(by_method.values()):
        for piece in found:
            given |= {f"{index}/{piece.site.key}/{role}": tensor for role, tensor in piece.tensors.items()}

    def refuse(expected: Mapping[str, Tensor]) -> None:
        for key, tensor in expected.items():
            if key not in given or given[key].shape != tensor.shape:
                raise error(f"{key} should have shape {tuple(tensor.shape)}, which it is not given here")

    engine.seat(model, name, parts, {piece.site.key: piece.site for piece in pieces}, given, refuse)
    return Adapter(model, name)


def _widths(pieces: list[Piece]) -> dict[str, Measured]:
    """The channels of what puts modules together, which its type does not show."""
    calls = [piece.site for piece in pieces if piece.site.kind == "call" and not piece.site.leaf]
    return {site.key: site.measured for site in calls if site.measured}
