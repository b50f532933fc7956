"""The one error of this format."""

from __future__ import annotations

from acclimate.store.refusal import StoreError

__all__ = ["HubError"]


class HubError(StoreError):
    """A folder that is damaged or does not fit the model, or an adapter that AdapterHub's format cannot hold."""
