"""What is said of a row decides which adapter it gets, and what a network makes of a task is an adapter like any other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from table import shake
from torch import Tensor, nn
from trees import BATCH, network

import acclimate as acc
from acclimate.compose import Generated, Parallel, Stack, Told, compose, new_task
from acclimate.engine import MethodError
from acclimate.losses import CrossEntropy
from acclimate.methods.given import given
from acclimate.players import Accumulated

CHILDREN: dict[str, object] = {
    "lora": {acc.LoRA(rank=2): ("first.weight", "attention.q.weight")},
    "dora": {acc.DoRA(rank=2): "first.weight"},
    "kronecker": {acc.Kronecker(): "first.weight"},
    "bottleneck": {acc.Bottleneck(width=2): "first"},
    "prefix": {acc.GatedPrompt(length=2): "attention"},
    "several": {acc.LoRA(rank=2): "first.weight", acc.Affine(): "norm"},
    "convolution": {acc.LoRA(rank=2): "conv.weight"},
}


def _made(child: object, tasks: int = 3) -> tuple[nn.Module, acc.Adapter]:
    model = network()
    return model, shake(compose(model, Generated(child, tasks=tasks, embedding=3, hidden=4), name="many"), seed=1)


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_each_task_has_an_adapter_of_its_own(name: str, tmp_path: Path) -> None:
    model, adapter = _made(CHILDREN[name])
    answers: list[Tensor] = []
    for task in range(3):
        with torch.no_grad(), given(task=task):
            answers.append(model(BATCH))
    assert not torch.allclose(answers[0], answers[1], atol=1e-4)
    fresh = network()
    acc.load(fresh, adapter.save(tmp_path / "many.safetensors"))
    again = adapter.copy("again")
    adapter.disable()
    again.enable()
    for task, wanted in enumerate(answers):
        with torch.no_grad(), given(task=task):
            assert torch.equal(fresh(BATCH), wanted) and torch.equal(model(BATCH), wanted)
        one = new_task(adapter, start=task, name="one")
        again.disable()
        with torch.no_grad():
            assert torch.allclose(model(BATCH), wanted, atol=1e-5)
        assert all(p.shape == (1, 3) for p in one.parameters())
        one.detach()
        again.enable()
    with pytest.raises(MethodError, match="know the task"):
        model(BATCH)


@pytest.mark.parametrize("name", sorted(CHILDREN))
def test_the_network_that_makes_them_is_common_and_all_of_it_learns(name: str) -> None:
    model, adapter = _made(CHILDREN[name])
    with given(task=1):
        model(BATCH).square().sum().backward()
    for role, parameter in adapter.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, role
    assert len({id(p) for n, p in adapter.named_parameters() if n.endswith("/task")}) == len(adapter.parts)


def test_untaught_it_is_the_base_to_the_bit() -> None:
    model = network()
    before = model(BATCH)
    compose(model, Generated(CHILDREN["lora"], tasks=2))
    with given(task=1):
        assert torch.equal(model(BATCH), before)


@pytest.mark.parametrize("name", ["lora", "convolution", "bottleneck"])
def test_rows_of_several_tasks_get_their_own_or_are_refused(name: str) -> None:
    model, _ = _made(CHILDREN[name])
    tasks = torch.tensor([2, 0, 1])
    if name != "lora":
        with given(task=tasks), pytest.raises(MethodError, match="one task at a time"):
            model(BATCH)
        return
    with torch.no_grad(), given(task=tasks):
        found = model(BATCH)
    for row, task in enumerate(tasks.tolist()):
        with torch.no_grad(), given(task=task):
            assert torch.allclose(model(BATCH[row : row + 1])[0], found[row], atol=1e-4)


def test_one_task_merges() -> None:
    model, adapter = _made(CHILDREN["lora"])
    with torch.no_grad(), given(task=2):
        before = model(BATCH)
        adapter.merge()
    with torch.no_grad():
        assert torch.allclose(model(BATCH), before, atol=1e-4)


def test_a_told_row_gets_its_child_and_what_all_have() -> None:
    model = network()
    for index, name in enumerate("abc"):
        shake(acc.attach(model, acc.LoRA(rank=2), at=("first.weight", "last.weight"), name=name), seed=index)
    tree = compose(model, Parallel("a", Told("b", "c")))
    tasks = torch.tensor([1, 0, 1])
    with torch.no_grad(), given(task=tasks):
        found = model(BATCH)
    tree.detach()
    for row, own in enumerate("cbc"):
        made = compose(model, Stack("a", own), name=f"row {row}")
        with torch.no_grad():
            assert torch.allclose(model(BATCH)[row], found[row], atol=1e-5)
        made.detach()


def test_what_follows_slowly_is_the_average_of_what_was_taught() -> None:
    model = nn.Linear(4, 2)
    adapter = acc.attach(model, acc.LoRA(rank=2), at="weight", name="online")
    data = (torch.randn(24, 4, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2)
    by_hand = {n: t.detach().clone() for n, t in adapter.tensors().items()}

    def follow(_: object) -> None:
        for name, tensor in adapter.tensors().items():
            by_hand[name] = 0.9 * by_hand[name] + 0.1 * tensor.detach()

    for _ in range(2):
        acc.fit(model, data, CrossEntropy(), players=[Accumulated("slow", 0.9)], callbacks=[follow], progress=False)
    slow = acc.adapters(model)["slow"]
    assert not slow.enabled
    for name, tensor in slow.tensors().items():
        assert torch.allclose(tensor, by_hand[name], atol=1e-6), name
        assert not torch.equal(tensor, adapter.tensors()[name]), name
