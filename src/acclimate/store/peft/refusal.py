"""The one error of the exchange, in a file of its own because every other file raises it."""

from __future__ import annotations

from acclimate.store.refusal import StoreError

__all__ = ["PeftError"]


class PeftError(StoreError):
    """A folder that is damaged or does not fit the model, or an adapter that PEFT's format cannot hold."""
