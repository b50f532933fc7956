"""Adapters that are learned apart, to be added: each reads directions that no other reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean

import torch

from acclimate.bench.experts import LAYERS, WHOLE, accuracy, experts, given
from acclimate.compose import Parallel, likeness
from acclimate.engine import Method, adapters
from acclimate.methods import LoRA, OrthogonalLoRA
from acclimate.recipes.recipe import Finding, Sentence, Tree, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["orthogonal"]


@written(papers=["Orthogonal Adaptation for Modular Customization of Diffusion Models"], needs=["train"])
def orthogonal(
    classes: int | None = None, rank: int = 8, index: int = 0, basis: int = 0, at: At = ("q", "v"), epochs: int = 2
) -> Sentence:
    """LoRA that reads rows ``index`` of a basis which others have too (Po et al., 2024)."""
    return supervised({OrthogonalLoRA(rank=rank, index=index, basis=basis): at}, classes, epochs, Gradient())


@orthogonal.claim
@torch.no_grad()
def _each_is_whole_in_the_sum(seeds: Sequence[int], on: bool) -> Finding:
    ways: dict[str, Mapping[str, Method]] = {
        "lora": {task: LoRA(rank=16) for task in WHOLE},
        "orthogonal": {
            task: OrthogonalLoRA(rank=16, index=index) if on else LoRA(rank=16) for index, task in enumerate(WHOLE)
        },
    }
    table: dict[str, list[float]] = {"unadapted": []}
    crosstalk: dict[str, float] = dict.fromkeys(ways, 0.0)
    cosine: dict[str, float] = dict.fromkeys(ways, 0.0)
    for seed in seeds:
        for name, methods in ways.items():
            model = experts(WHOLE, methods, seed, LAYERS, lr=1e-2)
            made = Tree(Parallel)(model, WHOLE, "sum")
            alone, added = table.setdefault(f"{name}_alone", []), table.setdefault(f"{name}_added", [])
            alone.append(mean(accuracy(model, given(task, "test"), task) for task in WHOLE))
            added.append(mean(accuracy(model, given(task, "test"), made) for task in WHOLE))
            held = [adapters(model)[task] for task in WHOLE]
            cosine[name] = max(cosine[name], float((likeness(held) - torch.eye(len(held))).abs().max()))
            crosstalk[name] = max(crosstalk[name], _crosstalk([dict(each.modules()) for each in held]))
        table["unadapted"].append(mean(accuracy(model, given(task, "test")) for task in WHOLE))
    return Finding(
        {
            **{name: [round(value, 1) for value in values] for name, values in table.items()},
            "largest_change_that_the_others_make_to_an_adapters_own_inputs": {
                name: f"{value:.1e}" for name, value in crosstalk.items()
            },
            "largest_cosine_between_two_updates": {name: f"{value:.1e}" for name, value in cosine.items()},
        },
        "on the inputs that an adapter reads, the sum of three does what it alone does, to 1e-5 of that, at every layer; no two "
        "updates have a cosine above 1e-5; each alone is 50 points above the unadapted network on its task in each seed",
        crosstalk["orthogonal"] < 1e-5
        and cosine["orthogonal"] < 1e-5
        and all(a >= b + 50 for a, b in zip(table["orthogonal_alone"], table["unadapted"], strict=True)),
        "that the sum serves the tasks better than a sum of LoRAs was not seen: rearranged digits do not keep to the inputs "
        "that their adapter reads, so that the others act on them as well",
    )


def _crosstalk(held: Sequence[Mapping[str, torch.nn.Module]]) -> float:
    """What the other updates do to the span of an adapter's A, beside what its own does; the largest over layers."""
    worst = 0.0
    for number, own in enumerate(held):
        others = [each for index, each in enumerate(held) if index != number]
        for key, module in own.items():
            assert isinstance(module, LoRA.Module)
            span = torch.linalg.qr(module.down.double().mT).Q  # (in, rank)
            rest = 0.0
            for other in others:
                apart = other[key]
                assert isinstance(apart, LoRA.Module)
                rest += float((apart.delta().double() @ span).norm())
            worst = max(worst, rest / float((module.delta().double() @ span).norm()))
    return worst
