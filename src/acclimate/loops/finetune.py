"""Labelled data, epoch after epoch."""

from __future__ import annotations

from typing import ClassVar

from acclimate.loops.loop import Loop

__all__ = ["finetune"]


class finetune(Loop):
    """Teach on labelled batches.

    >>> finetune(epochs=3).epochs
    3
    """

    gives: ClassVar[frozenset[str]] = frozenset({"labels", "index"})
