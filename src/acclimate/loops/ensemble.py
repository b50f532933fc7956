"""What several adapters of one model say together: for each class the largest of their probabilities.

    p_c = max_a softmax(f_a(x))_c

Gao et al., "A Unified Continual Learning Framework with General Parameter-Efficient Tuning", 2023: of an adapter and its slow
average, each is right where it is sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine import only
from acclimate.loops.evaluate import predict
from acclimate.loops.loop import LoopError

__all__ = ["ensemble"]


def ensemble(model: nn.Module, data: Any, names: Sequence[str], takes: Mapping[str, str] | None = None) -> Tensor:
    """The largest probability of each class over the adapters named, (rows, classes); rows need not add up to 1.

    >>> import acclimate as acc
    >>> model = nn.Linear(2, 3)
    >>> _ = acc.attach(model, acc.LoRA(rank=1), at="weight", name="a")
    >>> ensemble(model, torch.zeros(4, 2), ["a"]).shape
    torch.Size([4, 3])
    """
    if not names:
        raise LoopError("no adapter was named: an ensemble has at least one")
    found = []
    for name in names:
        with only(model, name):
            found.append(predict(model, data, takes).softmax(1))
    return torch.stack(found).amax(0)
