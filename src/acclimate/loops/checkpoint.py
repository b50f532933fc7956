"""A run on disk, to be continued as if nothing had happened.

One safetensors file, written beside and renamed: the adapters, the rule, the players, the random state, and the
position. Continued, a run ends with the same bits as one that was never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acclimate.engine import FileError
from acclimate.engine.files import write

__all__ = ["NAME", "read_checkpoint", "write_checkpoint"]

NAME = "checkpoint.safetensors"


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> Path:
    """Write tensors and a JSON position; equal tensors under several names are written as they are."""
    plain = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    plain["random"] = torch.get_rng_state()
    return write(folder / NAME, plain, {"position": json.dumps(position)})


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What was written, or None where there is nothing to continue."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as file:
            position = json.loads((file.metadata() or {})["position"])
            return {name: file.get_tensor(name) for name in file.keys()}, position  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise FileError(f"{path} is no checkpoint ({error}): delete it to start anew") from error
