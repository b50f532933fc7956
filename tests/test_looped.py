"""Layers that are one layer several times lie in memory once, and what is left out brings the original back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from acclimate.compose import extract
from acclimate.surgery import looped


def _model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(4))).eval()


@pytest.mark.parametrize("block", [1, 2])
def test_a_loop_lies_in_memory_once_and_a_full_update_undoes_it(block: int) -> None:
    model, x = _model(), torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    again = looped(model, ["0", "1", "2", "3"], block)
    assert len({p.data_ptr() for p in again.parameters()}) == 2 * block
    assert len(list(again.parameters())) == 8
    assert not torch.allclose(again(x), model(x), atol=1e-3)
    extract(again, model, "whole")
    assert torch.allclose(again(x), model(x), atol=1e-5)


def test_the_first_stands_for_all_where_that_is_asked() -> None:
    model = _model()
    again = looped(model, ["0", "1"], how="first")
    assert torch.equal(again.get_parameter("1.0.weight"), model.get_parameter("0.0.weight"))


def test_what_is_not_alike_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    with pytest.raises(ValueError, match="not alike"):
        looped(model, ["0", "1"])
    with pytest.raises(ValueError, match="multiple"):
        looped(_model(), ["0", "1", "2"], block=2)
