"""Adapters at rest, and their exchange with other libraries."""

from acclimate.store.adapterhub import HubError, read_adapterhub, write_adapterhub
from acclimate.store.formats import FORMATS, read_any, recognised
from acclimate.store.hub import pull, push
from acclimate.store.kohya import KohyaError, read_kohya, write_kohya
from acclimate.store.peft import PeftError, read_peft, write_peft
from acclimate.store.refusal import StoreError

__all__ = [
    "FORMATS", "HubError", "KohyaError", "PeftError", "StoreError", "pull", "push", "read_adapterhub", "read_any", "read_kohya",
    "read_peft", "recognised", "write_adapterhub", "write_kohya", "write_peft",
]  # fmt: skip
