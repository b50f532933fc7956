"""Adapters graded by a quality that is said: the formula, row by row, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import acclimate as acc
from acclimate.compose import Graded, compose
from acclimate.engine import MethodError
from acclimate.methods.given import given

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))


def graded(method: acc.Method) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    alone = []
    for name in "ab":
        adapter = acc.attach(model, method, at="weight", name=name)
        with torch.no_grad():
            for parameter in adapter.parameters():
                parameter.add_(torch.randn_like(parameter))
            alone.append(model(X))
        adapter.disable()
    compose(model, Graded("a", "b"))
    return model, alone[0], alone[1]


@pytest.mark.parametrize("method", [acc.LoRA(rank=2), acc.DoRA(rank=1)])
@torch.no_grad()
def test_each_row_has_its_own_shares(method: acc.Method) -> None:
    model, one, other = graded(method)
    for quality in (torch.tensor([1.0, 0.0, 0.25]), 0.25):
        with given(quality=quality):
            q = torch.as_tensor(quality).expand(3)[:, None, None]
            assert torch.allclose(model(X), q * one + (1 - q) * other, atol=1e-5)


@torch.no_grad()
def test_where_nothing_is_said_the_quality_is_what_the_tree_says() -> None:
    model, one, other = graded(acc.LoRA(rank=2))
    acc.adapters(model)["composition"].detach()
    compose(model, Graded("a", "b", otherwise=0.75))
    assert torch.allclose(model(X), 0.75 * one + 0.25 * other, atol=1e-5)


def test_a_quality_must_be_said_one_for_each_row() -> None:
    model = graded(acc.LoRA(rank=2))[0]
    with pytest.raises(MethodError, match="with given"):
        model(X)
    with given(quality=torch.ones(2)), pytest.raises(MethodError, match="one number for each"):
        model(X)
