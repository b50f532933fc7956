"""Which known task are these rows like? A projection learned by contrast, and a prototype for each task.

    z = W h / |W h|          h: the mean over tokens of what a place of the frozen base puts out
    min over W, P  - mean_i log sum_{j of i's task} e^{<z_i, z_j> / t} / sum_{j != i} e^{<z_i, z_j> / t}
                   - mean_i log softmax(<z_i, p> / t)[task of i]                p: the prototypes, rows of P over their norm

A `Generated` adapter takes the prototypes as its tasks' embeddings, and a new task starts from the prototype its rows are nearest
to. Zhao, Fu, He, "Prototype-based HyperAdapter for Sample-Efficient Multi-task Tuning", 2023. Khosla et al., "Supervised
Contrastive Learning", 2020.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.compose.generated import Generated
from acclimate.data import as_batches
from acclimate.engine import Adapter, MethodError, only
from acclimate.engine.adapter import again
from acclimate.engine.batch import first_tensor, run_batch
from acclimate.engine.unchanged import unchanged

__all__ = ["Retriever", "learn_retriever", "new_task"]


@dataclasses.dataclass(frozen=True)
class Retriever:
    """``projection`` (embedding, features), ``prototypes`` (tasks, embedding), each of length 1; ``place`` is the module read."""

    place: str
    projection: Tensor
    prototypes: Tensor

    def embedded(self, model: nn.Module, data: Any) -> Tensor:
        """Rows as the projection shows them, (rows, embedding), of length 1."""
        return F.normalize(_features(model, data, self.place) @ self.projection.mT, dim=-1)

    def nearest(self, model: nn.Module, data: Any) -> int:
        """The task that the rows, together, are most like."""
        return int((self.embedded(model, data).mean(0) @ self.prototypes.mT).argmax())


def learn_retriever(
    model: nn.Module,
    data: Mapping[int, Any],
    place: str,
    embedding: int = 8,
    temperature: float = 0.1,
    steps: int = 200,
    seed: int = 0,
) -> Retriever:
    """From inputs of each task, by its number from 0 on. The model is run once over all of them, without adapters.

    >>> model = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    >>> apart = {0: torch.tensor([[1.0, 0.1], [1.0, -0.1]]), 1: torch.tensor([[-0.1, 1.0], [0.1, 1.0]])}
    >>> learn_retriever(model, apart, "0", embedding=2).nearest(model, torch.tensor([[0.2, 2.0]]))
    1
    """
    if sorted(data) != list(range(len(data))) or len(data) < 2:
        raise MethodError(f"tasks are numbered from 0 on, two at least, and data was given for {sorted(data)}")
    found = [_features(model, data[task], place) for task in range(len(data))]
    h, task = torch.cat(found), torch.arange(len(found)).repeat_interleave(torch.tensor([len(each) for each in found]))
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        w = (torch.randn(embedding, h.shape[-1]) / h.shape[-1] ** 0.5).requires_grad_(True)
        p = torch.randn(len(found), embedding).requires_grad_(True)
        optimizer = torch.optim.Adam([w, p], lr=1e-2)
        for _ in range(steps):
            some = torch.randperm(len(h))[:512]
            z, own = F.normalize(h[some] @ w.mT, dim=-1), task[some]
            loss = _contrast(z, own, temperature) + F.cross_entropy(z @ F.normalize(p, dim=-1).mT / temperature, own)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return Retriever(place, w.detach(), F.normalize(p, dim=-1).detach())


def new_task(adapter: Adapter, start: int | None, name: str = "new task", seed: int = 0) -> Adapter:
    """A generated adapter for one new task, of which the task's embedding alone is trained: it starts as that of the task
    ``start``, or where that is None drawn anew. The old adapter stays, disabled.

    >>> import acclimate as acc
    >>> from acclimate.compose import compose
    >>> model = nn.Linear(4, 4)
    >>> many = compose(model, Generated({acc.LoRA(rank=1): "weight"}, tasks=5, embedding=3))
    >>> [tuple(p.shape) for p in new_task(many, start=2).parameters()]
    [(1, 3)]
    """
    trees = [part.method for part in adapter.parts]
    if not all(isinstance(tree, Generated) for tree in trees):
        raise MethodError(f"the adapter {adapter.name!r} is {', '.join(map(str, trees))}, and not one Generated")
    old = trees[0]
    assert isinstance(old, Generated)
    if start is not None and not 0 <= start < old.tasks:
        raise MethodError(f"start={start} is no task of {adapter.name!r}: they are 0 to {old.tasks - 1}")
    made = again(adapter, name, [_of_one(tree) for tree in trees])  # type: ignore[arg-type]
    held = adapter.tensors()
    with torch.no_grad():
        drawn = torch.randn(1, old.embedding, generator=torch.Generator().manual_seed(seed))
        for place, tensor in made.tensors().items():
            if place.endswith("/task"):
                tensor.copy_(drawn if start is None else held[place][start : start + 1])
            else:
                tensor.copy_(held[place])
    adapter.disable()
    return made


def _of_one(tree: Generated) -> Generated:
    children = [dataclasses.replace(child, learns=True, fresh=True) for child in tree.children]
    return Generated(*children, **{**tree.settings, "tasks": 1, "learns": "task"})


def _contrast(z: Tensor, task: Tensor, temperature: float) -> Tensor:
    """The mean over rows that have another of their task."""
    alike = z @ z.mT / temperature
    others = ~torch.eye(len(z), dtype=torch.bool)
    same = (task[:, None] == task) & others
    some = same.any(1)
    every = alike.masked_fill(~others, -torch.inf).logsumexp(1)
    return (every - alike.masked_fill(~same, -torch.inf).logsumexp(1))[some].mean()


@torch.no_grad()
def _features(model: nn.Module, data: Any, place: str) -> Tensor:
    """What a module puts out, the mean over all axes between the rows' and the last, (rows, features)."""
    seen: list[Tensor] = []
    handle = model.get_submodule(place).register_forward_hook(lambda _, x, y: seen.append(first_tensor(y).detach()))
    try:
        with unchanged(model), only(model):
            model.eval()
            for batch in as_batches(data):
                run_batch(model, batch.inputs)
    finally:
        handle.remove()
    return torch.cat([each.flatten(1, -2).mean(1) if each.dim() > 2 else each for each in seen]).float()
