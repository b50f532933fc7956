"""One adapter on top of another: each acts on what those before it made, at weights, calls and attention alike.

    y <- a_n(... a_1(y))

A language adapter under a task adapter, a sparse mask beside a ranking one: swapping a leaf swaps a language.
Pfeiffer, Vulić, Gurevych, Ruder, "MAD-X: An Adapter-Based Framework for Multi-Task Cross-Lingual Transfer", 2020.
"""

from __future__ import annotations

from acclimate.compose.node import Steps
from acclimate.compose.tree import Composition

__all__ = ["Stack"]


class Stack(Composition, init=False):
    """Children from the bottom to the top.

    >>> Stack("german", "ranking")
    Stack(german, ranking)
    """

    class Module(Steps):
        """The members at one site, each on what those before it made."""
