"""What an adapter costs, counted while it runs: parameters, bytes, FLOPs and bytes kept for the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from acclimate.engine.adapter import Adapter, only
from acclimate.engine.batch import run_batch
from acclimate.engine.unchanged import unchanged

__all__ = ["Cost", "cost", "saved_bytes"]


@dataclass(frozen=True)
class Cost:
    """``parameters`` are trained ones, ``bytes`` everything the file would hold; the rest is per batch, and
    ``base_flops`` is what the model costs without any adapter."""

    parameters: int
    bytes: int
    flops: int
    base_flops: int
    saved_bytes: int

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def cost(adapter: Adapter, batch: Any) -> Cost:
    model = adapter.model
    unique = list({id(t): t for t in adapter.tensors().values()}.values())
    with unchanged(model), _unfused():
        with only(model, adapter.name):
            flops, saved = _flops(model, batch), saved_bytes(model, batch)
        with only(model):
            base = _flops(model, batch)
    return Cost(
        sum(p.numel() for p in adapter.parameters()),
        sum(t.numel() * t.element_size() for t in unique),
        flops,
        base,
        saved,
    )


def _flops(model: nn.Module, batch: Any) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run_batch(model, batch)
    return int(counter.get_total_flops())


@contextmanager
def _unfused() -> Iterator[None]:
    """Inside, torch's fused encoder, whose work cannot be counted, stands back."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


class _Saved:
    """A tensor that a graph holds on to; it goes when the part of the graph that needed it goes."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def saved_bytes(model: nn.Module, batch: Any) -> int:
    """Bytes autograd keeps for the backward pass of one forward, each storage once, parameters left out."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    held: WeakSet[_Saved] = WeakSet()

    def keep(tensor: Tensor) -> _Saved:
        saved = _Saved(tensor)
        held.add(saved)
        return saved

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved.tensor):
        output = run_batch(model, batch)
    storages = [saved.tensor.untyped_storage() for saved in held]
    found = {s.data_ptr(): s.nbytes() for s in storages if s.data_ptr() not in own}
    del output
    return sum(found.values())
