"""The one error of this format."""

from __future__ import annotations

from acclimate.store.refusal import StoreError

__all__ = ["KohyaError"]


class KohyaError(StoreError):
    """A file that is damaged or does not fit the model, or an adapter that the format cannot hold."""
