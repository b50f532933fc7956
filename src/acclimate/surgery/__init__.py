"""Models that are built otherwise than they came: layers looped, and what that leaves out as adapters."""

from acclimate.surgery.looped import looped

__all__ = ["looped"]
