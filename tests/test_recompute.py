"""What recomputing promises: the same draws, the same gradients, fewer bytes, and a model that carries nothing of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from models import Residual, ResNet, noise, seeded
from table import METHODS, Row, build, case, outputs, place, places, shake
from torch import Tensor, nn

import acclimate as acc
from acclimate.engine import saved_bytes
from acclimate.loops import LoopError, finetune, recomputing

MODELS = ("bert", "gpt2", "llama", "gpt_oss", "mixtral", "t5", "vit", "clip", "whisper", "mamba", "encoder")
AROUND = ("LoRA", "Bottleneck", "Prefix", "DyLoRA", "DoRA")


class Block(Residual):
    acclimate_roles = {"": "block"}

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.dropout(super().forward(x), 0.2, self.training)


def blocked() -> nn.Module:
    """The residual network with blocks that say what they are, and that draw."""
    model = ResNet()
    model.blocks = nn.Sequential(Block(8), Block(8))
    return model


def gradients(model: nn.Module, adapter: acc.Adapter, batch: Any) -> list[Tensor]:
    torch.stack([y.float().square().mean() for y in outputs(model, batch)]).sum().backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in adapter.parameters()]
    for parameter in adapter.parameters():
        parameter.grad = None
    return found


@pytest.mark.parametrize("method", AROUND)
@pytest.mark.parametrize("name", MODELS)
def test_the_same_gradients_from_the_same_draws(name: str, method: str) -> None:
    which = case(name)
    at = places(METHODS[method], which)
    if not at:
        pytest.skip(f"{method} has no place in {name}")
    model = build(which).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
    adapter = shake(place(model, Row(METHODS[method], at[0], which)))
    expected = gradients(model, adapter, which.batch())
    whole = saved_bytes(model, which.batch())
    held = {path: dict(module.__dict__) for path, module in model.named_modules()}
    with recomputing(model):
        found = gradients(model, adapter, which.batch())
        kept = saved_bytes(model, which.batch())
    assert all((a - b).norm() <= 1e-6 * max(1.0, float(a.norm())) for a, b in zip(expected, found, strict=True))
    assert any(bool(g.any()) for g in expected) and kept < whole
    assert held == {path: dict(module.__dict__) for path, module in model.named_modules()}


def taught(recompute: bool) -> tuple[list[tuple[int, float]], dict[str, Tensor]]:
    model = seeded(blocked)
    parts = {acc.LoRA(rank=2, dropout=0.2): "all", acc.RunningStatistics(): "all"}
    adapter = acc.attach(model, parts, name="a")
    data = acc.as_batches((noise(8, 3, 8, 8), torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])), size=4)
    rule = acc.Gradient(lr=1e-2)
    run = acc.fit(model, data, acc.CrossEntropy(), finetune(epochs=2), rule, recompute=recompute, progress=False)
    assert all("forward" not in module.__dict__ for module in model.modules())
    return run.history, {name: tensor.clone() for name, tensor in adapter.tensors().items()}


def test_a_run_is_the_same_with_its_draws_and_running_statistics() -> None:
    """A block made again must not count its batch twice."""
    history, tensors = taught(False)
    again, others = taught(True)
    assert history == again
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_a_copy_made_meanwhile_is_its_own() -> None:
    model, batch = seeded(blocked), noise(3, 3, 8, 8)
    acc.attach(model, acc.LoRA(rank=2), at="all")
    with recomputing(model):
        other = copy.deepcopy(model)
    before = other(batch)
    with torch.no_grad():
        model.blocks[0].conv1.weight.zero_()
    assert torch.equal(other(batch), before)


def test_a_forward_of_its_own_comes_back() -> None:
    model = seeded(blocked)
    model.blocks[0].forward = model.blocks[0].forward
    mine = model.blocks[0].forward
    with recomputing(model):
        assert model.blocks[0].forward is not mine
    assert model.blocks[0].forward is mine and "forward" not in model.blocks[1].__dict__


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if "checkpointing" in m.exceptions and places(m, case("bert"))]
)
def test_what_cannot_be_computed_again_is_refused(name: str) -> None:
    which = case("bert")
    model = build(which)
    place(model, Row(METHODS[name], places(METHODS[name], which)[0], which))
    with pytest.raises(LoopError, match="cannot be computed again"), recomputing(model):
        pass


def test_a_model_without_blocks_is_refused() -> None:
    model = seeded(ResNet)
    acc.attach(model, acc.LoRA(rank=2), at="all")
    with pytest.raises(LoopError, match="no module whose role is block"):
        acc.fit(model, (noise(2, 3, 8, 8), torch.tensor([0, 1])), acc.CrossEntropy(), recompute=True, progress=False)
