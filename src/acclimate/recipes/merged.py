"""Adapters made one plain adapter by a rule, without any teaching."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from acclimate.bench.experts import WHOLE, accuracy, experts, given, mixed
from acclimate.bench.twins import reordered, twins
from acclimate.compose import Rule, combine
from acclimate.compose import rule as named
from acclimate.compose.combination.adapters import updates
from acclimate.compose.combination.regroup import regroup
from acclimate.compose.combination.update import Update
from acclimate.engine import Adapter, adapters, load
from acclimate.methods import Bottleneck, Full, LoRA
from acclimate.recipes.joining import outputs, same
from acclimate.recipes.recipe import Finding, Together, written

__all__ = ["Ruled", "held", "lora_lego", "mera", "slerp", "ties"]


@dataclass(frozen=True)
class Ruled:
    """``combine(adapters, rule)``."""

    rule: Rule

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "ruled", seed: int = 0, data: Any = None
    ) -> Adapter:
        return combine(held(model, adapters), self.rule, name=name, seed=seed)


@dataclass(frozen=True)
class Regrouped:
    """``regroup(adapters, rank)``."""

    rank: int

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "regrouped", seed: int = 0, data: Any = None
    ) -> Adapter:
        return regroup(held(model, adapters), self.rank, name=name, seed=seed)


def held(model: nn.Module, given: Collection[Any]) -> list[Adapter]:
    """Adapters by name; files are loaded under their own."""
    there = adapters(model)
    return [there[str(each)] if str(each) in there else load(model, Path(str(each))) for each in given]


@written(papers=["Resolving Interference When Merging Models"], needs=["adapters"])
def ties(density: float = 0.2, scale: float = 1.0) -> Together:
    """Trim each task vector, elect a sign for each entry, average those that agree (Yadav et al., 2023)."""
    return Together(Ruled(named("ties", density=density, scale=scale)))


@ties.claim
def _signs_are_elected(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[float]] = {
        "unadapted": [],
        "best_single": [],
        "average": [],
        "task_arithmetic": [],
        "ties": [],
    }
    for seed in seeds:
        model = experts(WHOLE, seed=seed, method=Full(), at="all", lr=1e-3)
        test, held_out = mixed(WHOLE, "test"), mixed(WHOLE, "train", 100, seed)
        rows["unadapted"].append(accuracy(model, test))
        rows["best_single"].append(max(accuracy(model, test, task) for task in WHOLE))
        rows["average"].append(_scaled(model, named("linear"), [1.0], held_out, test, seed))
        rows["task_arithmetic"].append(_scaled(model, named("task_arithmetic"), _SCALES, held_out, test, seed))
        way = named("ties") if on else named("linear")
        rows["ties"].append(_scaled(model, way, _SCALES if on else [1.0], held_out, test, seed))
    clash = [Update(whole=torch.tensor([[value, 1.0]])) for value in (3.0, -1.0)]
    way = named("ties", density=1.0) if on else named("linear")
    kept = way.combined(clash, [1.0, 1.0], torch.Generator()).dense().flatten().tolist()
    return Finding(
        {**{name: [round(v, 1) for v in found] for name, found in rows.items()}, "of_3_and_minus_1": kept[0]},
        "on images of three tasks, the scale chosen on 100 labelled rows a task that are not the test's, 8 points above the "
        "plain average of the task vectors in each seed; of entries 3 and -1 it makes 3, not their mean",
        all(a >= b + 8 for a, b in zip(rows["ties"], rows["average"], strict=True)) and kept == [3.0, 1.0],
        "task_arithmetic, adding them with a scale of its own, is better than TIES on these three tasks, and the best expert, "
        "right on its own third and little else, is 4 points ahead of TIES",
    )


_SCALES = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


def _scaled(model: nn.Module, rule: Rule, scales: Sequence[float], held_out: Any, test: Any, seed: int) -> float:
    """Accuracy on the test with the scale that is best on what is held out."""
    found = []
    for scale in scales:
        made = combine(held(model, WHOLE), rule.using(scale=scale), name="made", seed=seed)
        found.append((accuracy(model, held_out, made), accuracy(model, test, made)))
        made.detach()
    return max(found)[1]


@written(
    papers=[
        "Fine-tuning large language models for domain adaptation: Exploration of training strategies, scaling, model merging "
        "and synergistic capabilities"
    ],
    needs=["adapters"],
)
def slerp(normalise: bool = False) -> Together:
    """Half way between two stages of tuning on the sphere, not on the chord (Lu, Luu, Buehler, 2024)."""
    return Together(Ruled(Rule(weigh="slerp", normalise=normalise)))


@slerp.claim
def _the_ends_are_the_parents_and_the_middle_is_as_long(seeds: Sequence[int], on: bool) -> Finding:
    ends, lengths, gains = [], [], []
    way = named("slerp") if on else named("linear")
    for seed in seeds:
        tasks = ("upper", "lower")
        model = experts(tasks, seed=seed, method=Full(), at="all", lr=1e-3)
        images, _ = test = mixed(tasks, "test")
        for task, weights in zip(tasks, ([1.0, 0.0], [0.0, 1.0]), strict=True):
            end = combine(held(model, tasks), way, weights, name="end")
            ends.append(same(model, images, end, task))
            end.detach()
        middle = combine(held(model, tasks), way, name="middle")
        sizes = [_length(each) for each in (*held(model, tasks), middle)]
        lengths.append(sizes[2] / (sizes[0] / 2 + sizes[1] / 2))
        best = max(accuracy(model, test, task) for task in tasks)
        gains.append(accuracy(model, test, middle) - best)
    return Finding(
        {
            "ends_are_the_parents": all(ends),
            "length_of_the_middle_over_the_parents": [round(v, 3) for v in lengths],
            "accuracy_of_the_middle_minus_the_best_parent": [round(v, 1) for v in gains],
        },
        "the ends are the parents, to 1e-5; the change half way is as long as the parents', to 2 %, in each seed (an average is "
        "shorter); what the middle gains over the better parent is reported, not required",
        all(ends) and all(abs(length - 1) < 0.02 for length in lengths),
        "the paper's pipeline of stages is not run here; it says itself that merging need not help small models",
    )


def _length(adapter: Adapter) -> float:
    return float(torch.stack([update.norm() ** 2 for update in updates(adapter).values()]).sum().sqrt())


@written(papers=["MerA: Merging Pretrained Adapters For Few-Shot Learning"], needs=["adapters"])
def mera(align: str = "transport") -> Together:
    """Adapters averaged after their hidden units have been matched by optimal transport (He et al., 2023)."""
    return Together(Ruled(Rule(align=align, normalise=True)))  # type: ignore[arg-type]


@mera.claim
def _units_are_matched_first(seeds: Sequence[int], on: bool) -> Finding:
    table: dict[str, list[float]] = {"unadapted": [], "best_single": [], "average": [], "matched": []}
    copies = []
    for seed in seeds:
        at = ("0", "2", "4", "6")
        model, test = twins(Bottleneck(width=16), at, seed), given("upper", "test")
        table["unadapted"].append(accuracy(model, test))
        table["best_single"].append(max(accuracy(model, test, name) for name in ("one", "two")))
        table["average"].append(
            accuracy(model, test, mera.using(align="none").run(model, adapters=["one", "two"]).adapter)
        )
        adapters(model)["mera"].detach()
        way = mera if on else mera.using(align="none")
        table["matched"].append(accuracy(model, test, way.run(model, adapters=["one", "two"]).adapter))
        adapters(model)["mera"].detach()
        expected = outputs(model, test[0], "one")
        _copied(model, "one", "two", seed)
        made = way.run(model, adapters=["one", "two"]).adapter
        copies.append(float((outputs(model, test[0], made) - expected).abs().max() / expected.abs().max()))
    return Finding(
        {**{name: [round(v, 1) for v in found] for name, found in table.items()}, "error_with_its_own_copy": copies},
        "merged with a copy of itself in another order of units an adapter answers as before, to 1e-5; two adapters of one task "
        "merged stay within 4 points of the better one and 5 above their plain average, in each seed",
        max(copies) < 1e-5
        and all(m >= b - 4 for m, b in zip(table["matched"], table["best_single"], strict=True))
        and all(m >= a + 5 for m, a in zip(table["matched"], table["average"], strict=True)),
        "the paper's few-shot tuning of what was merged is not run",
    )


@torch.no_grad()
def _copied(model: nn.Module, source: str, target: str, seed: int) -> None:
    """Make one adapter another's copy with its units in another order."""
    theirs = adapters(model)[source].tensors()
    for name, tensor in adapters(model)[target].tensors().items():
        tensor.copy_(theirs[name])
    reordered(adapters(model)[target], seed + 1)


@written(
    papers=["Merging LoRAs like Playing LEGO: Pushing the Modularity of LoRA to Extremes Through Rank-Wise Clustering"],
    needs=["adapters"],
)
def lora_lego(rank: int = 8) -> Together:
    """The ranks of all LoRAs in one pool, clustered, each cluster a rank of the new one (Zhao et al., 2024)."""
    return Together(Regrouped(rank))


@lora_lego.claim
def _ranks_are_units(seeds: Sequence[int], on: bool) -> Finding:
    errors: dict[str, list[float]] = {"factors_averaged_apart": [], "regrouped": [], "nearest_of_this_rank": []}
    table: dict[str, list[float]] = {"unadapted": [], "best_single": [], "regrouped": []}
    exact = []
    for seed in seeds:
        model, test = (
            twins(LoRA(rank=8), ("0.weight", "2.weight", "4.weight", "6.weight"), seed),
            given("upper", "test"),
        )
        names = ["one", "two"]
        table["unadapted"].append(round(accuracy(model, test), 1))
        table["best_single"].append(round(max(accuracy(model, test, name) for name in names), 1))
        mean = updates(combine(held(model, names), name="mean"))
        full = Regrouped(16)(model, names, "full", seed)
        exact.append(_apart(updates(full), mean))
        apart = {key: _apart_factors(*(updates(each)[key] for each in held(model, names))) for key in mean}
        made = updates(lora_lego.run(model, adapters=names, seed=seed).adapter) if on else apart
        if on:
            table["regrouped"].append(round(accuracy(model, test, "lora-lego"), 1))
        errors["factors_averaged_apart"].append(_apart(apart, mean))
        errors["regrouped"].append(_apart(made, mean))
        errors["nearest_of_this_rank"].append(_apart({k: u.nearest(8) for k, u in mean.items()}, mean))
    return Finding(
        {
            **table,
            "error_at_full_rank": [f"{v:.0e}" for v in exact],
            **{f"error_{name}": [round(v, 3) for v in found] for name, found in errors.items()},
        },
        "with as many clusters as ranks it is the mean of the LoRAs, to 1e-5; with half as many, its error to that mean is at most "
        "0.7 of that of averaging the factors apart, in each seed",
        max(exact) < 1e-5
        and all(r <= 0.7 * f for r, f in zip(errors["regrouped"], errors["factors_averaged_apart"], strict=True)),
        "cutting the exact mean to this rank (`combine(..., rank=8)`) is nearer still",
    )


def _apart(found: dict[str, Update], wanted: dict[str, Update]) -> float:
    """The size of the difference over the size, over all sites."""
    far = sum(float((found[key].dense() - each.dense()).square().sum()) for key, each in wanted.items())
    return (far / sum(float(each.norm() ** 2) for each in wanted.values())) ** 0.5


def _apart_factors(one: Update, other: Update) -> Update:
    (a, b), (c, d) = one.factors, other.factors
    return Update(whole=((b + d) / 2 @ ((a + c) / 2)).detach())
