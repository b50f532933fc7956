"""What claims on several experts have in common: the base, the best expert, their plain average, and what was made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.experts import Data, accuracy, experts
from acclimate.compose import Average
from acclimate.compose.node import Mixed
from acclimate.data import Batches
from acclimate.engine import Adapter, adapters, only
from acclimate.engine.glimpse import Glimpse
from acclimate.loops import predict
from acclimate.recipes.recipe import Recipe, Tree
from acclimate.sites import find

__all__ = ["Joined", "beats", "chosen_by", "joined", "kept", "outputs", "same", "table"]


@dataclass(frozen=True)
class Joined:
    """A model with its experts and what joined them, and accuracies in percent on the task that needs several."""

    model: nn.Module
    adapter: Adapter
    unadapted: float
    best_single: float
    average: float
    joined: float


def joined(
    made: Recipe | None, tasks: Sequence[str], test: Data, seed: int, train: Data | None = None, **how: Any
) -> Joined:
    """Experts for the tasks made one by a recipe, taught on ``train``; by None the plain average, which nothing teaches.

    ``how`` are arguments of `acclimate.bench.experts.experts`.
    """
    model = experts(tasks, seed=seed, **how)
    rivals = accuracy(model, test), max(accuracy(model, test, task) for task in tasks)
    plain = Tree(Average)(model, tasks, "average")
    average = accuracy(model, test, plain)
    if made is None:
        return Joined(model, plain, *rivals, average, average)
    plain.detach()
    data: dict[str, Any] = {} if train is None else {"train": Batches(*train, 32, seed=seed)}
    adapter = made.run(model, adapters=list(tasks), seed=seed, progress=False, **data).adapter
    return Joined(model, adapter, *rivals, average, accuracy(model, test, adapter))


def table(runs: Sequence[Joined], name: str) -> dict[str, Any]:
    """Accuracies by seed."""
    rivals = {key: [round(getattr(run, key), 1) for run in runs] for key in ("unadapted", "best_single", "average")}
    return {**rivals, name: [round(run.joined, 1) for run in runs]}


def beats(runs: Sequence[Joined], by: float) -> bool:
    """Whether what was made leads the base, the best expert and the average by so many points, in each seed."""
    return all(run.joined - max(run.unadapted, run.best_single, run.average) >= by for run in runs)


def outputs(model: nn.Module, images: Tensor, *adapters: Adapter | str) -> Tensor:
    """What the model answers with these adapters and no others."""
    with only(model, *(each if isinstance(each, str) else each.name for each in adapters)):
        return predict(model, (images,))


def same(model: nn.Module, images: Tensor, one: Adapter | str, two: Adapter | str, error: float = 1e-5) -> bool:
    """Whether two adapters answer alike, to a share of the largest answer."""
    found, asked = outputs(model, images, one), outputs(model, images, two)
    return bool((found - asked).abs().max() <= error * asked.abs().max())


def kept(run: Joined, tasks: Sequence[str]) -> bool:
    """Whether the experts in a node over them have the bits that they had."""
    made, own = run.adapter.tensors(), adapters(run.model)
    return all(
        torch.equal(made[f"{place}/{index}.{role}"], tensor)
        for index, task in enumerate(tasks)
        for key, tensor in own[task].tensors().items()
        for place, _, role in [key.rpartition("/")]
    )


@torch.no_grad()
def chosen_by(adapter: Adapter, images: Tensor) -> dict[str, Tensor]:
    """The gates at each linear layer that has some, (rows, children), for what the base puts into it."""
    found = {site.key: site for site in find(adapter.model, "weight")}
    keys = [key for key, _ in adapter.modules()]
    with only(adapter.model):
        seen = dict(zip(keys, Glimpse(adapter.model, images).inputs([found[key] for key in keys]), strict=True))
    nodes = [(key, each) for key, module in adapter.modules() for each in module.modules() if isinstance(each, Mixed)]
    return {key: node.gates(seen[key], seen[key]) for key, node in nodes if not node.steady}
