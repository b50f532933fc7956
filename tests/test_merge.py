"""Law 4: merged equals attached, unmerged is the base to the bit, and what no weight can hold says so."""

from __future__ import annotations

import random

import pytest
import torch
from models import REAL, noise
from table import Row, build, case, distance, outputs, place, rows_where, same, shake, snapshot
from torch import nn

from acclimate import Bottleneck, LoRA, Scale, adapters, attach
from acclimate.engine import MergeError

_UNWRITABLE = {"weight_norm": "parametrization", "offloaded": "offloaded"}


def _folds(row: Row) -> bool:
    return "weight" in row.method.Module.faces and row.case.name not in _UNWRITABLE


@rows_where(_folds)
@torch.no_grad()
def test_merged_equals_attached_and_comes_out_again(row: Row) -> None:
    model, batch = build(row.case), row.case.batch()
    base = {n: p.clone() for n, p in model.named_parameters()}
    adapter = shake(place(model, row), size=0.1)
    attached = outputs(model, batch)
    adapter.merge()
    assert distance(outputs(model, batch), attached) < 1e-5
    assert any(not torch.equal(p, base[n]) for n, p in model.named_parameters() if n in base), "something was folded"
    adapter.unmerge()
    assert all(torch.equal(p, base[n]) for n, p in model.named_parameters() if n in base)
    assert same(outputs(model, batch), attached)


@rows_where(_folds)
@torch.no_grad()
def test_merging_for_good_gives_a_plain_model(row: Row) -> None:
    model, batch = build(row.case), row.case.batch()
    types, keys = [type(m) for m in model.modules()], list(model.state_dict())
    required = [p.requires_grad for p in model.parameters()]
    adapter = shake(place(model, row), size=0.1)
    attached = outputs(model, batch)
    plain = adapter.merge(keep=False)
    assert plain is model and not adapters(model)
    assert [type(m) for m in model.modules()] == types
    assert set(keys) <= set(model.state_dict())
    assert [p.requires_grad for p in model.parameters()][: len(required)] == required or len(keys) < len(
        model.state_dict()
    )
    assert not any("acclimate" in k for m in model.modules() for k in m.__dict__)
    assert distance(outputs(model, batch), attached) < 1e-5


@rows_where(lambda row: _folds(row) and row.case.name in ("tied", "gpt2", "depthwise", "lstm", "multihead", "experts"))
@torch.no_grad()
def test_several_in_any_order_leave_no_trace_in_bfloat16(row: Row) -> None:
    model = build(row.case).bfloat16()
    base = {n: p.clone() for n, p in model.named_parameters()}
    found = [shake(place(model, row, name=n, seed=i), seed=i) for i, n in enumerate("abc")]
    order = random.Random(0)
    for _ in range(12):
        adapter = order.choice(found)
        _ = adapter.unmerge() if adapter.merged else adapter.merge()
    for adapter in found:
        if adapter.merged:
            adapter.unmerge()
    assert all(torch.equal(p, base[n]) for n, p in model.named_parameters() if n in base)


@torch.no_grad()
def test_a_thousand_merges_in_bfloat16_leave_no_trace() -> None:
    """A peer is off by 3.2 % of the weight's norm after a hundred (fine-tuning.md 2a, 5)."""
    model = build(case("awkward")).bfloat16()
    base = {n: p.clone() for n, p in model.named_parameters()}
    one, two = (shake(attach(model, m, at="all", name=n)) for n, m in (("one", LoRA(rank=2)), ("two", Scale())))
    order = random.Random(1)
    for _ in range(1000):
        first, second = order.sample([one, two], 2)
        first.merge()
        if order.random() < 0.3:
            second.merge()
            order.choice([first.unmerge, second.unmerge])()
        for adapter in (one, two):
            if adapter.merged:
                adapter.unmerge()
    assert all(torch.equal(p, base[n]) for n, p in model.named_parameters() if n in base)


@torch.no_grad()
def test_merged_beside_attached() -> None:
    """One folded and one not compute what both attached compute, whichever is folded, where order does not matter."""
    model, batch = build(case("bert")), case("bert").batch()
    one, two = (shake(attach(model, LoRA(rank=2), at="all", name=n, seed=i), seed=i) for i, n in enumerate("ab"))
    both = outputs(model, batch)
    for folded in (one, two):
        folded.merge()
        assert distance(outputs(model, batch), both) < 1e-5
        folded.unmerge()
    one.merge()
    two.merge()
    assert distance(outputs(model, batch), both) < 1e-5
    two.detach()
    one.unmerge()
    one.detach()
    assert same(outputs(model.requires_grad_(False), batch), outputs(build(case("bert"), frozen=True), batch))


@torch.no_grad()
def test_order_matters_where_it_must() -> None:
    """Scaling after adding is not adding after scaling: merging keeps the order in which adapters act."""
    model, x = nn.Linear(4, 4), noise(3, 4)
    one, two = (shake(attach(model, m, at="all", name=n)) for n, m in (("one", LoRA(rank=2)), ("two", Scale())))
    both = outputs(model, x)
    two.merge()
    one.merge()
    assert distance(outputs(model, x), both) < 1e-5


@rows_where(lambda row: "weight" not in row.method.Module.faces)
def test_what_no_weight_can_hold_says_so(row: Row) -> None:
    model = build(row.case)
    adapter = place(model, row)
    before = outputs(model, row.case.batch())
    with pytest.raises(MergeError, match=f"cannot be merged: {type(row.method).__name__} at .* acts on"):
        adapter.merge()
    assert not adapter.merged and same(outputs(model, row.case.batch()), before)


@pytest.mark.parametrize("name", sorted(_UNWRITABLE))
def test_a_weight_that_cannot_be_written_says_so(name: str) -> None:
    model = build(case(name))
    with pytest.raises(MergeError, match=_UNWRITABLE[name]):
        attach(model, LoRA(rank=2), at="all").merge()


def test_merging_twice_and_unmerging_nothing_are_errors() -> None:
    adapter = attach(nn.Linear(4, 4), LoRA(rank=2), at="all")
    with pytest.raises(MergeError, match="not merged"):
        adapter.unmerge()
    adapter.merge()
    with pytest.raises(MergeError, match="merged already"):
        adapter.merge()


@torch.no_grad()
def test_a_tied_embedding_merges_into_every_reader() -> None:
    """A peer's merge is off by 4.7 times the output here (fine-tuning.md 2a, 3)."""
    model, x = build(case("tied")), case("tied").batch()
    adapter = shake(attach(model, LoRA(rank=2), at="all"))
    attached = outputs(model, x)
    adapter.merge(keep=False)
    assert model.head.weight is model.embed.weight
    assert distance(outputs(model, x), attached) < 1e-5


@torch.no_grad()
def test_merging_then_detaching_gives_the_base_back() -> None:
    model = build(case("gpt2"))
    before = snapshot(model)
    adapter = shake(attach(model, LoRA(rank=2), at="all"))
    adapter.merge()
    adapter.detach()
    assert snapshot(model) == before


@torch.no_grad()
def test_the_real_encoder_merges() -> None:
    model, batch = build(REAL), REAL.batch()
    adapter = shake(attach(model, {LoRA(rank=4): "all", Scale(): "norm"}), size=0.05)
    attached = outputs(model, batch)
    adapter.merge()
    assert distance(outputs(model, batch), attached) < 1e-5


@torch.no_grad()
def test_a_part_that_cannot_fold_leaves_the_rest_unfolded() -> None:
    model, batch = build(case("bert")), case("bert").batch()
    adapter = shake(attach(model, {LoRA(rank=2): "attention", Bottleneck(width=3): "block"}))
    attached = outputs(model, batch)
    with pytest.raises(MergeError, match="Bottleneck"):
        adapter.merge()
    assert same(outputs(model, batch), attached)
