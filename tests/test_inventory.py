"""Skills in common: every way to say the task gives the same, for each row, with several heads and in several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

import acclimate as acc
from acclimate.compose.inventory import averaged, hardened, new_tasks
from acclimate.engine import Adapter, MethodError
from acclimate.methods import Poly
from acclimate.methods.given import Given, given

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
TASKS = torch.tensor([0, 2, 1, 1, 0, 2])


def pool(hard: bool = False) -> tuple[nn.Module, Adapter]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 4))
    adapter = acc.attach(model, Poly(rank=2, skills=3, heads=2, tasks=3, hard=hard), at="all", name="pool")
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model, adapter


def of(model: nn.Module, task: int) -> Tensor:
    with given(task=task), torch.no_grad():
        found: Tensor = model(X)
    return found


@pytest.mark.parametrize("hard", [False, True])
def test_each_row_by_its_own_task_is_each_task_alone(hard: bool) -> None:
    model, _ = pool(hard)
    alone = torch.stack([of(model, int(task))[row] for row, task in enumerate(TASKS)])
    assert not torch.allclose(of(model, 0), of(model, 1))
    with given(task=TASKS):
        assert torch.allclose(model(X), alone, atol=1e-6)
        with acc.rows(model, ["pool"] * 6):
            assert torch.allclose(model(X), alone, atol=1e-6)
    assert torch.allclose(Given(model, "task")(X, TASKS), alone, atol=1e-6)


def test_the_weight_of_a_task_is_what_its_output_says_and_rows_of_several_have_none() -> None:
    model, adapter = pool()
    for task in range(3):
        before = of(model, task)
        with given(task=task):
            adapter.merge()
        assert torch.allclose(model(X), before, atol=1e-5)
        adapter.unmerge()
    with given(task=TASKS), pytest.raises(MethodError, match="one weight for one task"):
        adapter.merge()


def test_a_task_must_be_said_where_there_are_several() -> None:
    model, _ = pool()
    with pytest.raises(MethodError, match="with given"):
        model(X)


def test_threads_say_tasks_of_their_own() -> None:
    model, _ = pool()
    expected = [of(model, task) for task in range(3)]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda n: of(model, n % 3), range(60)))
    assert all(torch.equal(each, expected[n % 3]) for n, each in enumerate(found))


def test_what_follows_on_an_inventory() -> None:
    model, adapter = pool()
    few = new_tasks(adapter)
    assert [p.numel() for p in few.parameters()] == [6, 6]
    y = of(model, 0)
    few.disable()
    averaged(adapter)
    assert torch.allclose(of(model, 0), y, atol=1e-6)
    masks = next(module for _, module in hardened(adapter).modules())
    with given(task=1):
        assert set(masks.shares().mul(6).round().unique().tolist()) <= {0, 2, 3, 6}
    with pytest.raises(MethodError, match="one of Poly"):
        new_tasks(acc.adapters(model)["mean"])
