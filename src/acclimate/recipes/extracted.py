"""What one model has and another lacks, taken as an adapter, and weights for adapters found by trying."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from acclimate.bench.experts import accuracy, experts, given
from acclimate.compose import Average, combine, compose, extract
from acclimate.compose.combination.search import search
from acclimate.data import as_batches
from acclimate.engine import Adapter, adapters
from acclimate.loops import predict
from acclimate.methods import Full
from acclimate.recipes.joining import beats, joined, same, table
from acclimate.recipes.merged import held
from acclimate.recipes.recipe import Finding, Together, written

__all__ = ["Searched", "lorahub", "re_adapt"]


@dataclass(frozen=True)
class Searched:
    """The sum of the adapters with weights that an evolution strategy finds on labelled data."""

    tries: int
    sparsity: float

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "searched", seed: int = 0, data: Any = None
    ) -> Adapter:
        batches = [(batch.inputs, batch.labels) for batch in as_batches(data) if batch.labels is not None]

        def nats(trial: nn.Module) -> float:
            losses = [nn.functional.cross_entropy(predict(trial, (x,)), y, reduction="sum") for x, y in batches]
            return float(sum(losses)) / sum(len(y) for _, y in batches)

        members = held(model, adapters)
        weights = search(members, nats, self.tries, self.sparsity, seed=seed)
        return combine(members, "task_arithmetic", weights, name=name)


@written(
    papers=["LoraHub: Efficient Cross-Task Generalization via Dynamic LoRA Composition"], needs=["adapters", "train"]
)
def lorahub(tries: int = 200, sparsity: float = 0.05) -> Together:
    """Weights for many LoRAs from a few examples of a new task, by forward passes alone (Huang et al., 2023)."""
    return Together(Searched(tries, sparsity))


@lorahub.claim
def _a_new_task_from_a_few_examples(seeds: Sequence[int], on: bool) -> Finding:
    tasks, test = ("upper", "lower", "one"), given("upper+lower", "test")
    runs = [
        joined(lorahub if on else None, tasks, test, seed, given("upper+lower", "train", 50, seed)) for seed in seeds
    ]
    alone = []
    for run in runs:
        single = combine(held(run.model, tasks), "task_arithmetic", [0.0, 1.0, 0.0], name="single")
        alone.append(same(run.model, test[0], single, "lower"))
    return Finding(
        {**table(runs, "searched"), "weight_on_one_is_that_one": alone},
        "on a task that needs two of three LoRAs, 5 examples a class and 200 forward passes, 25 points above the best of them and "
        "above their average in each seed; all the weight on one is that one, to 1e-5",
        beats(runs, 25) and all(alone),
    )


@dataclass(frozen=True)
class Strengths:
    """The sum of the adapters, the first (a domain's) and the others (what tuning taught) each with a strength."""

    domain: float
    instruction: float

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "strengths", seed: int = 0, data: Any = None
    ) -> Adapter:
        weights = (self.domain, *(self.instruction,) * (len(adapters) - 1))
        return compose(model, Average(*adapters, weights=weights), name=name, seed=seed)


@written(papers=["RE-Adapt: Reverse Engineered Adaptation of Large Language Models"], needs=["adapters"])
def re_adapt(domain: float = 1.0, instruction: float = 1.0) -> Together:
    """A tuned model's difference to its base added to a domain's, each with a strength (Fleshman, Van Durme, 2024).

    The adapters are the domain's and the difference, in this order; `acclimate.extract` makes the second.
    """
    return Together(Strengths(domain, instruction))


@re_adapt.claim
def _skill_and_domain_add_up(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[float]] = {
        name: [] for name in ("unadapted", "tuned_alone", "domain_alone", "both", "old_skill_kept")
    }
    exact, errors = [], []
    for seed in seeds:
        model, tuned = _base_and_tuned(seed)
        extract(model, tuned, name="instruction")
        test = given("upper+lower", "test")
        with torch.no_grad():
            expected = tuned(test[0])
            found = predict(_alone(model, "instruction"), (test[0],))
        exact.append(float((found - expected).abs().max() / expected.abs().max()))
        made = re_adapt.using(instruction=1.0 if on else 0.0).run(model, adapters=["lower", "instruction"]).adapter
        rows["unadapted"].append(accuracy(model, test))
        rows["tuned_alone"].append(accuracy(model, test, "instruction"))
        rows["domain_alone"].append(accuracy(model, test, "lower"))
        rows["both"].append(accuracy(model, test, made))
        rows["old_skill_kept"].append(accuracy(model, given("upper", "test"), made))
        cut = extract(model, tuned, name="cut", share=0.9)
        errors.append(cut.error**2)
    best = zip(rows["both"], rows["tuned_alone"], rows["domain_alone"], strict=True)
    return Finding(
        {
            **{name: [round(v, 1) for v in found] for name, found in rows.items()},
            "error_of_the_extracted": [f"{v:.0e}" for v in exact],
            "largest_share_that_a_cut_leaves_out": [round(v, 3) for v in errors],
        },
        "the difference on the base is the tuned model, to 1e-5; with the domain's it is 25 points above either where both are "
        "needed, and keeps 60 % on the old skill, in each seed; a cut to 90 % of the squared size leaves out at most 10 %",
        max(exact) < 1e-5
        and max(errors) <= 0.1 + 1e-6
        and all(both >= max(one, other) + 25 for both, one, other in best)
        and min(rows["old_skill_kept"]) >= 60,
    )


def _base_and_tuned(seed: int) -> tuple[nn.Module, nn.Module]:
    """The base with a domain's adapter, and the base tuned to a skill, as two models."""
    how: dict[str, Any] = {"method": Full(), "at": "all", "lr": 1e-3}
    skilled = experts(["upper"], seed=seed, **how)
    adapters(skilled)["upper"].enable().merge(keep=False)
    return experts(["lower"], seed=seed, **how), skilled


def _alone(model: nn.Module, name: str) -> nn.Module:
    for other, adapter in adapters(model).items():
        (adapter.enable if other == name else adapter.disable)()
    return model
