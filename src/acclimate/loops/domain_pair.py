"""Labelled source beside unlabelled target, a batch of each in every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from acclimate.data import Batch, Batches
from acclimate.loops.loop import Feed, Look, Loop
from acclimate.losses import Seen

__all__ = ["domain_pair"]


class domain_pair(Loop):
    """Teach on source labels while target batches pass through the same model. The shorter set goes round again.

    >>> domain_pair(epochs=2).data
    ('source', 'target')
    """

    data: ClassVar[tuple[str, ...]] = ("source", "target")
    gives: ClassVar[frozenset[str]] = frozenset({"labels", "target", "index"})

    def length(self, feed: Feed) -> int:
        return max(len(feed["source"]), len(feed["target"]))

    def steps(self, feed: Feed, epoch: int) -> Iterator[tuple[Batch, ...]]:
        length = self.length(feed)
        source, target = (_round(feed[name], epoch, length) for name in self.data)
        for _, a, b in zip(range(length), source, target, strict=False):
            yield a, dataclasses.replace(b, labels=None)

    def see(self, look: Look, batches: tuple[Batch, ...]) -> Seen:
        source, target = look(batches[0]), look(batches[1])
        return dataclasses.replace(source, target=target)


def _round(batches: Batches, epoch: int, length: int) -> Iterator[Batch]:
    """Batches from the given epoch on, for as long as they are wanted."""
    turns = -(-length // len(batches))
    for turn in range(turns):
        yield from batches.epoch(epoch * turns + turn)
