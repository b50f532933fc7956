"""Law 5: detached, the model is the one that came in; a second adapter leaves the first alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import noise
from table import Row, build, case, outputs, place, rows_where, same, shake, snapshot
from torch import nn

from acclimate import LoRA, Prefix, Scale, TokenRouter, adapters, attach, load, only, rows
from acclimate.engine import EffectError, MethodError
from acclimate.sites import SiteError


def _uneven(model: nn.Module) -> nn.Module:
    """Not everything trainable, not everything in one mode."""
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 3 != 0 and not parameter.is_meta)
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    return model


@rows_where()
def test_detached_is_what_came_in(row: Row) -> None:
    model, batch = _uneven(build(row.case)), row.case.batch()
    before = snapshot(model)
    adapter = shake(place(model, row))
    assert not any(p.requires_grad for n, p in model.named_parameters() if "_acclimate" not in n), "the base is frozen"
    modes = [m.training for m in model.modules()]
    model.eval()
    with torch.enable_grad():
        grads = [y for y in outputs(model, batch) if y.requires_grad]
        if grads:
            torch.stack([y.sum() for y in grads]).sum().backward()
    assert len(modes) == len(list(model.modules()))
    adapter.detach()
    kept = _modes_of(_uneven(build(row.case)))
    for name, module in model.named_modules():
        module.training = kept[name]
    assert snapshot(model) == before
    assert not adapters(model)


def _modes_of(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


@rows_where(lambda row: row.at == row.method.at or row.at == "all")
def test_attaching_and_detaching_leave_the_training_mode(row: Row) -> None:
    model = _uneven(build(row.case))
    before = _modes_of(model)
    adapter = place(model, row)
    assert {n: m for n, m in _modes_of(model).items() if n in before} == before
    adapter.detach()
    assert _modes_of(model) == before


@rows_where(lambda row: "identity" not in row.method.exceptions)
@torch.no_grad()
def test_a_second_leaves_the_first_alone(row: Row) -> None:
    model, batch = build(row.case), row.case.batch()
    before = snapshot(model)
    first = shake(place(model, row, name="first"))
    alone, own = outputs(model, batch), first.parameters()
    values = [p.clone() for p in own]
    second = place(model, row, name="second", seed=1)
    assert [id(p) for p in first.parameters()] == [id(p) for p in own]
    assert all(p.requires_grad for p in own) and same(own, values)
    shake(second, seed=8)
    second.detach()
    assert same(outputs(model, batch), alone)
    first.detach()
    assert snapshot(model) == before


@rows_where(lambda row: row.case.name in ("bert", "resnet", "lstm", "offloaded", "weight_norm"))
@torch.no_grad()
def test_resident_ones_leave_too(row: Row, tmp_path: Any) -> None:
    model = build(row.case)
    before = snapshot(model)
    adapter = shake(place(model, row))
    path = adapter.save(tmp_path / "a.safetensors")
    adapter.detach()
    load(model, path, name="b")
    load(model, path, name="c")
    del adapters(model)["b"]
    del adapters(model)["c"]
    assert snapshot(model) == before


def test_looking_leaves_nothing() -> None:
    """`only`, `rows` and `check` dress the model for a while; after the last detach nothing of it is there."""
    model, batch = build(case("bert")), case("bert").batch()
    before = snapshot(model)
    adapter = attach(model, LoRA(rank=2), at="encoder.layer.0.*query", name="a")
    adapter.check(batch)
    with only(model):
        outputs(model, batch)
    with rows(model, ["a", None, "a"]):
        model(**batch)
    adapter.detach()
    assert snapshot(model) == before


@pytest.mark.parametrize(
    ("method", "at"),
    [(LoRA(rank=2), "nowhere"), (LoRA(rank=2), ["1", "nowhere"]), (Scale(), "nowhere")],
)
def test_an_attach_that_fails_changes_nothing(method: Any, at: Any) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = snapshot(model)
    with pytest.raises(SiteError, match="nowhere"):
        attach(model, method, at=at)
    assert snapshot(model) == before and all(p.requires_grad for p in model.parameters())


def test_one_wrong_target_among_right_ones_is_refused_with_near_misses() -> None:
    """A peer ignores it silently (fine-tuning.md 3, 14)."""
    model = build(case("bert"))
    with pytest.raises(SiteError, match=r"encoder\.layer\.0\.attention\.self\.query") as raised:
        attach(model, LoRA(rank=2), at=["encoder.layer.1.*value", "encoder.layer.0.attention.self.qurey"])
    assert "qurey" in str(raised.value) and not adapters(model)


def test_a_second_that_fails_leaves_the_first() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), noise(3, 4)
    shake(attach(model, LoRA(rank=2), at="0", name="first"))
    before = outputs(model, x)
    with pytest.raises(SiteError, match="'5' matches no"):
        attach(model, {LoRA(rank=2): "0", Scale(): "5"}, name="second")
    with pytest.raises(ValueError, match="already has an adapter 'first'"):
        attach(model, LoRA(rank=2), at="0", name="first")
    assert list(adapters(model)) == ["first"] and same(outputs(model, x), before)


@pytest.mark.parametrize("method", [Prefix(length=2), TokenRouter()], ids=lambda m: type(m).__name__)
def test_a_place_that_cannot_carry_a_method_is_refused_before_it_runs(method: Any) -> None:
    """A model that breaks at its next call would be a worse answer than an error now."""
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), noise(3, 4)
    with pytest.raises((SiteError, MethodError, EffectError)):
        attach(model, method, at="0", data=x).check(x)


@rows_where(lambda row: row.case.name in ("resnet", "norms"))
def test_attaching_with_data_moves_no_buffer(row: Row) -> None:
    """One forward pass shows a width; it must not show in the norms' statistics."""
    model = build(row.case).train()
    before = {n: b.clone() for n, b in model.named_buffers()}
    place(model, row)
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers() if n in before)


@pytest.mark.parametrize("name", ["mlp", "weight", "v1.2", "", "a/b", "_acclimate", "lora_A", "default"])
@torch.no_grad()
def test_an_adapter_may_have_any_name_and_loses_nothing(name: str, tmp_path: Any) -> None:
    """A peer's file is emptied by an adapter called "weight" (fine-tuning.md 2a, 2)."""
    model, x = build(case("awkward")), case("awkward").batch()
    other = shake(attach(model, LoRA(rank=2), at="all", name="other"), seed=1)
    adapter = shake(attach(model, LoRA(rank=2), at="all", name=name), seed=2)
    assert len(adapter.parameters()) == 6 and len(other.parameters()) == 6
    both = outputs(model, x)
    paths = [a.save(tmp_path / f"{i}.safetensors") for i, a in enumerate((other, adapter))]
    fresh = build(case("awkward"))
    names = [load(fresh, path).name for path in paths]
    assert names == ["other", name]
    assert same(outputs(fresh, x), both)
