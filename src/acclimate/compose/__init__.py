"""Several adapters as one: trees of them as values, and rules that combine them into one plain adapter.

The room is also the verb: ``acc.compose(model, Average("a", "b"))``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from acclimate.compose.alike import groups, likeness
from acclimate.compose.average import Average, Parallel
from acclimate.compose.bind import compose, take
from acclimate.compose.combination import NAMED, Combined, Rule, combine, extract, fold, rule
from acclimate.compose.fuse import Fuse
from acclimate.compose.graded import Graded
from acclimate.compose.learned import Learned
from acclimate.compose.nearest import Nearest, learn_prototypes
from acclimate.compose.route import Route
from acclimate.compose.split import Split
from acclimate.compose.stack import Stack
from acclimate.compose.tree import Composition, Leaf, compositions

__all__ = [
    "NAMED",
    "Average",
    "Combined",
    "Composition",
    "Fuse",
    "Graded",
    "Leaf",
    "Learned",
    "Nearest",
    "Parallel",
    "Route",
    "Rule",
    "Split",
    "Stack",
    "combine",
    "compose",
    "compositions",
    "extract",
    "fold",
    "groups",
    "learn_prototypes",
    "likeness",
    "rule",
    "take",
]


class _Callable(ModuleType):
    def __call__(self, *args: Any, **settings: Any) -> Any:
        return compose(*args, **settings)


sys.modules[__name__].__class__ = _Callable
