"""What both sides agree on: a method at one site, with its tensors by role."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from acclimate.engine import Adapter, Method
from acclimate.sites import Site, find
from acclimate.store.refusal import StoreError

__all__ = ["Piece", "pieces_of"]


@dataclass(frozen=True, eq=False)
class Piece:
    """One module of an adapter, outside of any model. Pieces that share a tensor hold the same object."""

    method: Method
    site: Site
    tensors: dict[str, Tensor]

    def expect(self, roles: Iterable[str]) -> None:
        """Refuse what a format has no place for; a method may hold more than its plainest form does."""
        extra = sorted(self.tensors.keys() - set(roles))
        if extra:
            raise StoreError(f"{self.method} at {self.site.key} holds {extra[0]!r}, for which the format has no place")


def pieces_of(adapter: Adapter) -> list[Piece]:
    """The pieces of an adapter, in the order of its parts; read without moving it from where it rests."""
    tensors = adapter.tensors()
    sites = {s.key: s for kind in {part.method.kind for part in adapter.parts} for s in find(adapter.model, kind)}
    found: list[Piece] = []
    plain: dict[int, Tensor] = {}
    with torch.no_grad():
        for index, part in enumerate(adapter.parts):
            for key in part.keys:
                prefix = f"{index}/{key}/"
                own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
                held = {role: plain.setdefault(id(t), t.detach()) for role, t in own.items()}
                found.append(Piece(part.method, sites[key], held))
    return found
