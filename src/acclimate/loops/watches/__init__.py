"""A guard at work, by the order of a stream that a method is good in."""

from __future__ import annotations

from acclimate.engine import Order
from acclimate.loops.guard import Guard
from acclimate.loops.watches.any_order import AnyOrderWatch
from acclimate.loops.watches.mixed import MixedWatch
from acclimate.loops.watches.runs import RunsWatch
from acclimate.loops.watches.watch import Watch

__all__ = ["Watch", "watching"]


def watching(guard: Guard, expects: Order) -> Watch:
    """A guard that starts to watch a method."""
    kinds: dict[Order, type[Watch]] = {"shuffled": MixedWatch, "correlated": RunsWatch, "any": AnyOrderWatch}
    return kinds[expects](guard)
