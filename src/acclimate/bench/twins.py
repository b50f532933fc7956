"""Two adapters of one task that do alike and look unlike: taught on half of the data each, one with its units reordered.

Changing the order of hidden units, or of the ranks of a product, changes nothing that an adapter does. Averaging parameters
one by one does not know that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.bench.experts import given, taught
from acclimate.bench.relearn import network
from acclimate.engine import Adapter, Method, adapters, attach
from acclimate.sites import At

__all__ = ["reordered", "twins"]


def twins(method: Method, at: At, seed: int, task: str = "upper") -> nn.Sequential:
    """The network with the adapters "one" and "two", both disabled.

    >>> from acclimate.methods import LoRA
    >>> list(adapters(twins(LoRA(rank=2), "6.weight", seed=0)))
    ['one', 'two']
    """
    model = network()
    images, labels = given(task, "train")
    for name, half in {"one": slice(None, None, 2), "two": slice(1, None, 2)}.items():
        adapter = attach(model, method, at=at, name=name, seed=seed)
        taught(model, (images[half], labels[half]), seed, epochs=30, lr=3e-3)
        adapter.disable()
    reordered(adapters(model)["two"], seed)
    return model


@torch.no_grad()
def reordered(adapter: Adapter, seed: int) -> None:
    """Give the units of each module another order, drawn by the seed."""
    for _, module in adapter.modules():
        drawn: Tensor | None = None
        for role, axis in module.units.items():
            tensor: Tensor = getattr(module, role)
            if drawn is None:
                drawn = torch.randperm(tensor.shape[axis], generator=torch.Generator().manual_seed(seed))
            tensor.copy_(tensor.index_select(axis, drawn))
