"""Faces, attaching, merging, rows, checking: everything that is written once for all methods."""

from acclimate.engine.adapter import Adapter, Adapters, adapters, attach, only
from acclimate.engine.check import Effect, EffectError
from acclimate.engine.cost import Cost, saved_bytes
from acclimate.engine.files import FileError, describe, load
from acclimate.engine.merge import MergeError
from acclimate.engine.method import (
    AdapterModule,
    Method,
    MethodError,
    Order,
    methods,
    no_matrix,
    normal,
    ones,
    positive,
    zeros,
)
from acclimate.engine.product import Product
from acclimate.engine.rows import RowsError, rows

__all__ = [
    "Adapter",
    "AdapterModule",
    "Adapters",
    "Cost",
    "Effect",
    "EffectError",
    "FileError",
    "MergeError",
    "Method",
    "MethodError",
    "Order",
    "Product",
    "RowsError",
    "adapters",
    "attach",
    "describe",
    "load",
    "methods",
    "no_matrix",
    "normal",
    "ones",
    "only",
    "positive",
    "rows",
    "saved_bytes",
    "zeros",
]
