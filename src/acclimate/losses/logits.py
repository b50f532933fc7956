"""The answer in whatever a model returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

__all__ = ["logits_of"]


def logits_of(output: Any) -> Tensor:
    """The logits in what a model returned: a tensor, the ``logits`` of a mapping, or the first of a tuple.

    >>> import torch
    >>> logits_of({"logits": torch.ones(1)})
    tensor([1.])
    """
    if isinstance(output, Mapping):
        if "logits" not in output:
            raise TypeError(f"the model gave {', '.join(output)} and no logits: attach a Head, or use a classifier")
        output = output["logits"]
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(
            f"a model must give logits as a tensor, a tuple or a ModelOutput, and this one gave {type(output).__name__}"
        )
    return output
