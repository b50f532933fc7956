"""Adapters of one shape in one batch: their tensors stacked along the rows, so that all rows are one product.

T[i] = tensor of the adapter that row i has        (rows, *shape)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.engine.method import AdapterModule
from acclimate.engine.placing import shape_of
from acclimate.engine.registry import Entry, roles, state
from acclimate.engine.resident import hold

__all__ = ["Alike", "alike"]

Members = list[tuple[Entry, Tensor]]


class Alike:
    """``members`` are adapters with the rows that each has; ``rows`` is the number of rows of the batch."""

    def __init__(self, members: Members, rows: int) -> None:
        self.entries = [entry for entry, _ in members]
        self.first = self.entries[0]
        counts = torch.tensor([len(found) for _, found in members])
        index = torch.cat([found for _, found in members])
        order = index.argsort()
        self.index = index[order]  # the rows, in the batch's order
        self.each = torch.arange(len(members)).repeat_interleave(counts)[order]  # whose each of them is
        self.full = len(index) == rows
        self.block: dict[torch.dtype, Tensor] = {}
        if self.first.slab is not None:
            self.block = self.first.slab.gather(torch.tensor([entry.row for entry in self.entries])[self.each])

    def at(self, key: str, training: bool) -> list[AdapterModule]:
        """The modules at a site over parameters with a row axis in front."""
        found = self.first.modules.get(key, ())
        return [self._stacked(key, n, part, module, training) for n, (part, module) in enumerate(found)]

    def _stacked(self, key: str, position: int, part: int, module: AdapterModule, training: bool) -> AdapterModule:
        tensors: dict[str, Tensor] = {}
        slab = self.first.slab
        for role in roles(module):
            if slab is not None:
                place = slab.fields[f"{part}/{key}/{role}"]
                flat = self.block[place.dtype].narrow(1, place.offset, place.size)
                tensors[role] = flat.view(-1, *place.shape)
            else:
                own: Sequence[Tensor] = [state(entry.modules[key][position][1])[role] for entry in self.entries]
                tensors[role] = torch.stack(list(own))[self.each]
        return hold(module, tensors, training)  # type: ignore[return-value]


def alike(groups: Sequence[tuple[Entry | None, Tensor]], rows: int) -> list[Alike]:
    """The adapters of a batch by shape; rows without one are in none."""
    found: dict[str, Members] = {}
    for entry, index in groups:
        if entry is not None:
            shape = str(id(entry.slab)) if entry.slab is not None else shape_of(entry.parts, entry.tensors())
            found.setdefault(shape, []).append((entry, index))
    return [Alike(members, rows) for members in found.values()]
