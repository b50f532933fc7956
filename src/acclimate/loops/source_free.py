"""Target data without labels, and no source: the model is all that is left of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from acclimate.data import Batch
from acclimate.loops.loop import Feed, Loop

__all__ = ["source_free"]


class source_free(Loop):
    """Teach on unlabelled target batches. Labels that come with the data are dropped before anything can see them.

    >>> source_free(epochs=2).gives
    frozenset({'index'})
    """

    data: ClassVar[tuple[str, ...]] = ("target",)
    gives: ClassVar[frozenset[str]] = frozenset({"index"})

    def steps(self, feed: Feed, epoch: int) -> Iterator[tuple[Batch, ...]]:
        for batch in feed["target"].epoch(epoch):
            yield (dataclasses.replace(batch, labels=None),)
