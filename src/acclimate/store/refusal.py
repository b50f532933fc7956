"""The error that those of every format are."""

from __future__ import annotations

from acclimate.engine import FileError

__all__ = ["StoreError"]


class StoreError(FileError):
    """Something at rest that is damaged or does not fit the model, or an adapter that its format cannot hold."""
