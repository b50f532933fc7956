"""Law 10: what `cost` says is what a run shows, counted by other means: by hand, by the file, by hooks of our own."""

from __future__ import annotations

import dataclasses
import weakref
from pathlib import Path
from typing import Any

import torch
from models import noise
from safetensors.torch import load_file
from table import Row, build, case, outputs, place, rows_where, shake, unfused
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from acclimate import Bottleneck, Full, LoRA, Scale, attach
from acclimate.engine.batch import run_batch


def _flops(model: nn.Module, batch: Any) -> int:
    """As a run shows them on kernels whose work can be counted: the fused encoder's cannot."""
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            outputs(model, batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return int(counter.get_total_flops())


def _saved(model: nn.Module, batch: Any) -> int:
    """Storages that autograd keeps and that are no parameter or buffer, seen through the saved-tensor hooks."""
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def pack(tensor: Tensor) -> _Kept:
        kept.add(held := _Kept(tensor))
        return held

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # asking whether it may be taken reads, and keeps, every weight
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
            alive = run_batch(model, batch)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    storages = {held.tensor.untyped_storage().data_ptr(): held.tensor.untyped_storage().nbytes() for held in kept}
    assert alive is not None
    return sum(size for pointer, size in storages.items() if pointer not in own)


class _Kept:
    """What the graph holds on to; it dies with the part of the graph that needed it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@rows_where()
def test_counted_is_what_a_run_shows(row: Row, tmp_path: Path) -> None:
    model, batch = build(row.case), row.case.batch()
    adapter = shake(place(model, row))
    cost = adapter.cost(batch)
    held = load_file(adapter.save(tmp_path / "a.safetensors"))
    assert cost.parameters == sum(p.numel() for p in adapter.parameters())
    assert cost.bytes == sum(t.numel() * t.element_size() for t in held.values())
    assert cost.flops == _flops(model, batch)
    assert cost.base_flops == _flops(unfused(build(row.case, frozen=True)), batch)
    assert cost.saved_bytes == _saved(model, batch)
    assert set(cost.as_dict()) == {f.name for f in dataclasses.fields(cost)}


@rows_where(lambda row: row.case.name in ("bert", "resnet", "lstm"))
def test_counting_changes_nothing(row: Row) -> None:
    model, batch = build(row.case).train(), row.case.batch()
    adapter = shake(place(model, row))
    torch.manual_seed(5)
    tensors = {n: t.clone() for n, t in [*model.named_parameters(), *model.named_buffers()]}
    state, modes = torch.get_rng_state(), {n: m.training for n, m in model.named_modules()}
    adapter.cost(batch)
    after_modes = dict(model.named_modules())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(after_modes[n].training == mode for n, mode in modes.items())
    after = dict([*model.named_parameters(), *model.named_buffers()])
    assert all(torch.equal(tensors[n], after[n]) for n in tensors)
    assert all(p.grad is None for p in model.parameters())


def _chain() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))


def test_a_low_rank_update_by_hand() -> None:
    """Two multiplications and additions for every element of both factors, for every row."""
    rows, rank = 5, 3
    cost = attach(_chain(), LoRA(rank=rank), at="all").cost(noise(rows, 8))
    assert cost.base_flops == 2 * rows * (8 * 16 + 16 * 4)
    assert cost.parameters == rank * (8 + 16 + 16 + 4)
    assert cost.flops - cost.base_flops == 2 * rows * cost.parameters
    assert cost.bytes == 4 * cost.parameters


def test_others_by_hand() -> None:
    rows = 5
    scale = attach(_chain(), Scale(), at="2").cost(noise(rows, 8))
    assert (scale.parameters, scale.flops) == (4, scale.base_flops)
    full = attach(_chain(), Full(), at="all").cost(noise(rows, 8))
    assert (full.parameters, full.flops) == (8 * 16 + 16 + 16 * 4 + 4, full.base_flops)
    narrow = attach(_chain(), Bottleneck(width=3), at="2").cost(noise(rows, 8))
    assert narrow.flops - narrow.base_flops == 2 * rows * 2 * 3 * 4


def test_the_backward_pass_keeps_what_it_needs_and_no_more() -> None:
    """One LoRA on a linear keeps the input and the narrow middle: the frozen product keeps nothing."""
    rows, rank = 64, 2
    cost = attach(nn.Linear(32, 32), LoRA(rank=rank), at="all").cost(noise(rows, 32))
    assert cost.saved_bytes == 4 * rows * (32 + rank)


def test_half_precision_is_half_the_bytes() -> None:
    model = build(case("awkward"))
    adapter = attach(model, LoRA(rank=2), at="all")
    whole = adapter.cost(noise(3, 8)).bytes
    model.bfloat16()
    assert 2 * adapter.cost(noise(3, 8).bfloat16()).bytes == whole
