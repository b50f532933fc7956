"""Adapters between which nothing is learned: each token goes where what is known of them sends it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.experts import CORNERS, WHOLE, accuracy, experts, given, mixed
from acclimate.compose import Average, Nearest, Parallel, groups, learn_prototypes, likeness
from acclimate.engine import Adapter, adapters
from acclimate.recipes.joining import beats, chosen_by, joined, outputs, same, table
from acclimate.recipes.recipe import Finding, RecipeError, Together, Tree, written

__all__ = ["arrow", "token_level"]


@dataclass(frozen=True)
class ByCentroid:
    """A `Nearest` node whose prototypes are the means of what the adapters are for."""

    tree: Tree

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "nearest", seed: int = 0, data: Any = None
    ) -> Adapter:
        if not isinstance(adapters, Mapping):
            raise RecipeError(
                "centroids are means of data, and the adapters came without: give adapters={name: a batch of what it is for}"
            )
        made = self.tree(model, adapters, name, seed)
        learn_prototypes(made, adapters)
        return made


@written(papers=["Token-Level Adaptation of LoRA Adapters for Downstream Task Generalization"], needs=["adapters"])
def token_level(temperature: float = 0.05, top: int | None = None, grain: str = "token") -> Together:
    """Each token to the adapters whose data it is most like, without a gradient (Belofsky, 2023)."""
    settings = {"by": "centroid", "temperature": temperature, "top": top, "grain": grain}
    return Together(ByCentroid(Tree(Nearest, settings)))


@token_level.claim
def _tokens_of_one_row_go_apart(seeds: Sequence[int], on: bool) -> Finding:
    images, labels = (torch.stack(each.chunk(3), 1) for each in mixed(WHOLE, "test"))

    def right(model: nn.Module, *made: Adapter | str) -> float:
        return 100 * float((outputs(model, images, *made).argmax(-1) == labels).double().mean())

    found: dict[str, list[float]] = {}
    alone, first = [], []
    for seed in seeds:
        model = experts(WHOLE, seed=seed)
        by_token, by_row = (
            _by_centroid(model, *way) for way in (("token" if on else "row", "by_token"), ("row", "by_row"))
        )
        scores = {
            "unadapted": right(model),
            "best_single": max(right(model, task) for task in WHOLE),
            "told_which_is_which": sum(accuracy(model, given(task, "test"), task) for task in WHOLE) / 3,
            "average": right(model, Tree(Average)(model, WHOLE, "average")),
            "by_row": right(model, by_row),
            "by_token": right(model, by_token),
        }
        for name, score in scores.items():
            found.setdefault(name, []).append(score)
        picked = next(iter(chosen_by(_by_centroid(model, "token", "picking"), images.transpose(0, 1)).values())).argmax(
            -1
        )
        first.append(100 * float((picked.flatten() == torch.arange(3).repeat_interleave(len(images))).double().mean()))
        alone.append(_one_prototype_is_that_expert(seed))
    rivals = zip(*(found[name] for name in ("unadapted", "best_single", "average", "by_row")), strict=True)
    return Finding(
        {
            **{name: [round(score, 1) for score in scores] for name, scores in found.items()},
            "sent_right_at_the_first_layer": [round(share, 1) for share in first],
            "all_to_one_is_that_expert": all(alone),
        },
        "rows of three tokens, one of each task, whose tasks nobody names: 20 points above the best expert, the average and the "
        "same choice by row, in each seed; nine in ten tokens go to their expert at the first layer; all to one expert is "
        "that expert, to 1e-5",
        all(made >= max(rival) + 20 for made, rival in zip(found["by_token"], rivals, strict=True))
        and min(first) > 90
        and all(alone),
        "from the third layer on tokens are sent by chance: the centroids are those of the base, which the first layers' "
        "experts change",
    )


def _by_centroid(model: nn.Module, grain: str, name: str) -> Adapter:
    data = {task: given(task, "train")[0] for task in WHOLE}
    made = token_level.using(grain=grain).run(model, name=name, adapters=data).adapter
    made.disable()
    return made


@torch.no_grad()
def _one_prototype_is_that_expert(seed: int) -> bool:
    model = experts(WHOLE, seed=seed)
    tree = token_level.using(top=1).run(model, adapters={task: given(task, "train")[0] for task in WHOLE}).adapter
    learned = {key: node.prototypes.clone() for key, node in tree.modules() if isinstance(node, Nearest.Module)}
    found = []
    for index, task in enumerate(WHOLE):
        for key, node in tree.modules():
            assert isinstance(node, Nearest.Module)
            node.prototypes.zero_()[index] = learned[key].abs()[index]
        found.append(same(model, given(task, "test")[0], tree, task))
    return all(found)


@written(papers=["Towards Modular LLMs by Building and Reusing a Library of LoRAs"], needs=["adapters"])
def arrow(temperature: float = 0.1, top: int | None = 1) -> Together:
    """Each token to the adapters whose updates answer to it most, read from their weights alone (Ostapenko et al., 2024)."""
    return Together(Tree(Nearest, {"by": "arrow", "temperature": temperature, "top": top}))


FIRST: Mapping[str, Any] = {"at": ("0.weight",), "lr": 1e-2}
DIGITS = ("01234", "56789", "02468", "13579")


@arrow.claim
def _weights_say_whose_a_token_is(seeds: Sequence[int], on: bool) -> Finding:
    test = mixed(CORNERS, "test")
    whose = torch.arange(4).repeat_interleave(len(test[1]) // 4)
    runs = [joined(arrow if on else None, CORNERS, test, seed, **FIRST) for seed in seeds]
    sums = [accuracy(run.model, test, Tree(Parallel)(run.model, CORNERS, "sum")) for run in runs]
    gates = [next(iter(chosen_by(run.adapter, test[0]).values()), None) for run in runs]
    right = [0.0 if each is None else 100 * float((each.argmax(-1) == whose).double().mean()) for each in gates]
    sorts = [_grouped(seed, on) for seed in seeds]
    return Finding(
        {
            **table(runs, "arrow"),
            "sum": [round(score, 1) for score in sums],
            "sent_right": [round(share, 1) for share in right],
            "tasks_grouped_by_their_corner": sorts,
        },
        "digits in four corners, an expert for each: 70 of 100 are sent to theirs, by chance it were 25, and 25 points above the "
        "best expert and above the average, in each seed; twelve experts for some digits in one of three corners are "
        "grouped by their corners",
        all(share >= 70 for share in right) and beats(runs, 25) and all(sorts),
        "the experts sit at the first layer alone: deeper, where inputs of the tasks are alike, a token was sent by chance; "
        "the plain sum is as good here, since inputs of the tasks have no pixel in common",
    )


def _grouped(seed: int, on: bool) -> bool:
    """Whether experts are grouped by corner; by what they have learned, or by the order in which they came."""
    names = [f"{corner}:{some}" for some in DIGITS for corner in CORNERS[:3]]
    model = experts(names, seed=seed, **FIRST)
    alike: Tensor = likeness([adapters(model)[name] for name in names]) if on else torch.eye(len(names))
    return groups(alike, 3) == [0, 1, 2] * len(DIGITS)
