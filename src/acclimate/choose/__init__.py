"""Choosing by measuring: which rule, of those that could combine what is there."""

from acclimate.choose.rules import Tried, try_rules

__all__ = ["Tried", "try_rules"]
