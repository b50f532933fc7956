"""What one forward pass shows of calls whose type does not say how wide they are.

A block of a network gives what its last layer of a known type gave, so the channels lie where that layer's lie, or
where as many as it has are found; where no such layer ran before, behind the rows of an image and last elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.engine.batch import first_tensor, run_batch
from acclimate.engine.unchanged import unchanged
from acclimate.sites import Measured, Site, find

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["measured"]


def measured(model: nn.Module, sites: Sequence[Site], data: Any) -> dict[str, Measured]:
    """Channels and their axis by site key, for the calls that lack them; nothing where there is no ``data`` to run.

    >>> blocks = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), nn.Flatten())
    >>> measured(blocks, [site for site in find(blocks, "call") if site.path == "0"], torch.ones(2, 3, 4, 4))
    {'0()': Measured(channels=8, axis=-3)}
    """
    from acclimate.engine.adapter import only

    wanted = {id(site.module): site for site in sites if site.kind == "call" and site.channels is None}
    if data is None or not wanted:
        return {}
    found: dict[str, Measured] = {}
    last: list[Site] = []

    def passed(site: Site) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, y: Any) -> None:
            last[:] = [site]

        return hook

    def look(module: nn.Module, args: Any, y: Any) -> None:
        output = first_tensor(y)
        axis = _axis(output, last[0] if last else None)
        found[wanted[id(module)].key] = Measured(output.shape[axis], axis)

    typed = [site for site in find(model, "call") if site.leaf and site.channels is not None]
    handles = [site.module.register_forward_hook(passed(site)) for site in typed]
    handles += [site.module.register_forward_hook(look) for site in wanted.values()]
    try:
        with torch.no_grad(), unchanged(model), only(model):
            run_batch(model, data)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _axis(y: Tensor, last: Site | None) -> int:
    """Where the channels of an output lie, after a layer whose own are known."""
    if last is not None:
        for axis in (last.layout.axis(y), 1, -1):
            if -y.dim() <= axis < y.dim() and y.shape[axis] == last.channels:
                return axis
    return 1 if y.dim() > 3 else -1
