"""A budget of ranks: what is kept follows the schedule, comes back from a checkpoint, and leaves no hook behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models import noise
from torch import nn

from acclimate.engine import Adapter, attach
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import AdaLoRA, LoRA
from acclimate.players import RankBudget

DATA = noise(16, 6), torch.arange(16) % 3


def taught(out: Path | None = None, callbacks: Any = (), rank: float = 1) -> Adapter:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    adapter = attach(model, AdaLoRA(rank=3), at="all")
    fit(
        model, DATA, CrossEntropy(), finetune(epochs=20), players=[RankBudget(rank=rank)],
        out=out, every=5, callbacks=callbacks, progress=False,
    )  # fmt: skip
    return adapter


def values(adapter: Adapter) -> torch.Tensor:
    return torch.cat([p.detach() for name, p in adapter.named_parameters() if name.endswith("values")])


def test_no_more_values_than_the_budget_are_left() -> None:
    adapter = taught()
    assert int(values(adapter).count_nonzero()) == 2
    assert all(not p._backward_hooks for p in adapter.parameters())


def test_it_is_taken_up_where_it_was(tmp_path: Path) -> None:
    def halt(run: Any) -> None:
        if run.step == 13:
            run.stop()

    whole = taught()
    taught(tmp_path, [halt])
    assert torch.equal(values(taught(tmp_path)), values(whole))


@pytest.mark.parametrize("settings", [{"rank": 0}, {"warm": 0.6, "last": 0.4}, {"smooth": 1.0}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="cannot work"):
        RankBudget(**settings)


def test_a_model_without_such_ranks_is_refused() -> None:
    model = nn.Linear(6, 3)
    attach(model, LoRA(rank=2), at="weight")
    with pytest.raises(ValueError, match="no ranks to take away"):
        fit(model, DATA, CrossEntropy(), players=[RankBudget()], progress=False)
