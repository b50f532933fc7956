"""Adapters at rest, and their exchange with other libraries."""

from acclimate.store.peft import PeftError, read_peft, write_peft

__all__ = ["PeftError", "read_peft", "write_peft"]
