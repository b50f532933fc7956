"""Experts added to a routed adapter and taken away: what is kept, to the bit, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import acclimate as acc
from acclimate.compose import Average, Route, compose
from acclimate.compose.modular import extended, pruned, used
from acclimate.engine import Adapter, MethodError
from acclimate.loops.taps import tapped

X = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))


def base() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))


def routed(top: int | None = 1, experts: int = 4) -> tuple[nn.Module, Adapter]:
    model = base()
    children: list[Any] = [{acc.LoRA(rank=2): "*weight"}] * experts
    settings: Any = {"top": top}
    adapter = compose(model, Route(*children, **settings), name="routed")
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            parameter.add_(torch.randn_like(parameter))
            if name.endswith("prior"):
                parameter[1:3] -= 100  # experts that no row is given to
    return model, adapter


@torch.no_grad()
def test_pruned_of_what_is_never_used_the_answers_are_the_same(tmp_path: Path) -> None:
    model, adapter = routed()
    before = model(X)
    assert all(counts[1:3].tolist() == [0, 0] and counts.sum() == 12 for counts in used(adapter, X).values())
    made = pruned(adapter, X)
    assert len(made.parts[0].method.children) == 2  # type: ignore[attr-defined]
    assert torch.allclose(model(X), before, atol=1e-6)
    fresh = base()
    acc.load(fresh, made.save(tmp_path / "pruned.safetensors"))
    assert torch.equal(fresh(X), model(X))


def test_extended_only_what_is_new_can_learn(tmp_path: Path) -> None:
    model, adapter = routed(top=None)
    made = extended(adapter, acc.LoRA(rank=3))
    names = {name.rpartition("/")[2] for name, _ in made.named_parameters()}
    assert names == {"4.down", "4.up", "router", "prior"}
    acc.fit(model, (X, torch.arange(12) % 4), acc.CrossEntropy(), acc.loops.finetune(epochs=2), check=False)
    held, now = adapter.tensors(), made.tensors()
    assert all(torch.equal(now[name], held[name]) for name in held if name.rpartition("/")[2][0].isdigit())
    fresh = base()
    acc.load(fresh, made.save(tmp_path / "extended.safetensors"))
    with torch.no_grad():
        assert torch.equal(fresh(X), model(X))


def test_gates_are_heard_of_every_node_and_add_up_to_one() -> None:
    model, _ = routed()
    with tapped(model, ["gates"]) as taps:
        model(X)
        seen = taps.take()
    assert list(seen) == ["gates/0", "gates/1"]
    assert all(torch.allclose(shares.sum(-1), torch.ones(12)) for shares in seen.values())


def test_what_cannot_be_pruned_or_extended_is_refused() -> None:
    model, adapter = routed(top=None)
    with pytest.raises(MethodError, match="top=k"):
        pruned(adapter, X)
    average = compose(model, Average("routed"), name="average")
    for act in (lambda: extended(average, acc.LoRA()), lambda: used(average, X)):
        with pytest.raises(MethodError, match="not one Route"):
            act()
