"""What classes have in common kept apart from what they do not, so that it can be handed on alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from acclimate.bench.experts import LAYERS
from acclimate.bench.relearn import known, network
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import evaluate, finetune, fit, predict
from acclimate.losses import CrossEntropy
from acclimate.methods import Diverted, LoRA
from acclimate.methods.diverted import inherit
from acclimate.methods.given import Given
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["kind"]


@written(papers=["KIND: Knowledge Integration and Diversion in Diffusion Models"], needs=["train"])
def kind(
    classes: int | None = None,
    rank: int = 8,
    tailor: int = 2,
    tasks: int = 2,
    at: At = ("q", "v"),
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Ranks in common beside ranks of each class's own, for a model called with ``task`` (Xie et al., 2024)."""
    return supervised({Diverted(rank=rank, tailor=tailor, classes=tasks): at}, classes, epochs, Gradient(lr=lr))


METHOD = Diverted(rank=8, tailor=4, classes=3)
PLACES = tuple(f"model.{key}" for key in LAYERS)  # type: ignore[union-attr]


@kind.claim
def _the_learngene_alone_is_handed_on(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[float]] = {}
    apart = []
    for seed in seeds:
        model, old = _model(METHOD, seed)
        _teach(model, _rows(range(3), "train"), seed, epochs=15)
        scores = {"known_tasks": _score(model, *_rows(range(3), "test"))}
        apart.append(_only_its_own(model, old))
        images, new_task, labels = _rows([3], "train")
        few = images[:SHOTS], new_task[:SHOTS] * 0, labels[:SHOTS]
        images, new_task, labels = _rows([3], "test")
        asked = images, new_task * 0, labels
        for name in ("fresh", "learngene", "all_of_the_first_class"):
            model, new = _model(METHOD, seed + 10)
            scores["unadapted_on_a_new_task"] = _score(model, *asked)
            if name == "learngene" and on:
                inherit(new, old)
            if name == "all_of_the_first_class":
                for tensor_name, tensor in new.tensors().items():
                    tensor.data.copy_(old.tensors()[tensor_name].detach())
            _teach(model, few, seed, epochs=30)
            scores[f"new_task_from_{name}"] = _score(model, *asked)
        for name, score in scores.items():
            rows.setdefault(name, []).append(round(score, 1))
    return Finding(
        {**rows, "other_classes_tailors_change_nothing": all(apart)},
        "drawing other classes' tailors anew changes no bit of a class's answers; three tasks that have half of a rearrangement in "
        "common are taught at once, each 50 points above the unadapted network; from 100 images of a fourth, the "
        "learngene with new tailors is 15 points above everything new in each seed, and no more than 3 below all that "
        "one class had on average",
        all(apart)
        and min(rows["known_tasks"]) >= max(rows["unadapted_on_a_new_task"]) + 50
        and all(a >= b + 15 for a, b in zip(rows["new_task_from_learngene"], rows["new_task_from_fresh"], strict=True))
        and mean(rows["new_task_from_learngene"]) >= mean(rows["new_task_from_all_of_the_first_class"]) - 3,
        "that it is better than all that one class had was not seen. The tasks are images to be classified and not made, "
        "and the base is kept: components of an update, not of the weights",
    )


SHOTS = 100


def _model(method: LoRA, seed: int) -> tuple[Given, Adapter]:
    model = Given(network(), "task")
    return model, attach(model, method, at=PLACES, seed=seed)


def _rows(tasks: Sequence[int], part: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Images (rows, 64) whose upper half is rearranged alike for all tasks and the lower by each, tasks, labels."""
    images, labels = known(part)
    shared = torch.randperm(32, generator=torch.Generator().manual_seed(50))
    found = []
    for task in tasks:
        own = 32 + torch.randperm(32, generator=torch.Generator().manual_seed(60 + task))
        found.append(images[:, torch.cat([shared, own])])
    number = torch.tensor(list(tasks)).repeat_interleave(len(labels))
    return torch.cat(found), number, labels.repeat(len(found))


def _teach(model: Given, rows: tuple[Tensor, Tensor, Tensor], seed: int, epochs: int) -> None:
    images, tasks, labels = rows
    data = Batches({"input": images, "task": tasks}, labels, 64, seed=seed)
    fit(model, data, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=3e-3), seed=seed, check=False, progress=False)


def _score(model: Given, images: Tensor, tasks: Tensor, labels: Tensor) -> float:
    found = evaluate(model, Batches({"input": images, "task": tasks}, labels, 600)).accuracy
    assert found is not None
    return 100 * found


@torch.no_grad()
def _only_its_own(model: Given, adapter: Adapter) -> bool:
    """Whether rows of class 0 answer the same bits once every other class's tailor is drawn anew."""
    images = known("test")[0]
    first = torch.zeros(len(images), dtype=torch.long)
    before = predict(model, {"input": images, "task": first})
    for _, module in adapter.modules():
        assert isinstance(module, Diverted.Module)
        mine = METHOD.rank + METHOD.tailor
        module.up[:, mine:] += 1
        after = predict(model, {"input": images, "task": first})
        module.up[:, mine:] -= 1
    return torch.equal(before, after)
