"""Frozen adapters added up by gates that are learned: attention between them, or a number for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from acclimate.bench.experts import WHOLE, accuracy, experts, given, mixed
from acclimate.compose import Average, Fuse, Learned
from acclimate.engine import Adapter
from acclimate.loops import finetune
from acclimate.losses import CrossEntropy
from acclimate.methods import Full
from acclimate.recipes.joining import Joined, beats, joined, kept, same, table
from acclimate.recipes.recipe import Finding, Together, Tree, written
from acclimate.rules import Gradient

__all__ = ["adapterfusion", "atlas", "scalearn"]

HALVES = ("upper", "lower", "one")
"""Two experts that "upper+lower" needs, and one that only disturbs."""
BOTH = "upper+lower"


@written(papers=["AdapterFusion: Non-Destructive Task Composition for Transfer Learning"], needs=["adapters", "train"])
def adapterfusion(size: int = 16, epochs: int = 10, lr: float = 1e-3) -> Together:
    """Attention over what several frozen adapters make of the same input (Pfeiffer et al., 2021)."""
    return Together(Tree(Fuse, {"size": size}), CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@adapterfusion.claim
def _nothing_is_destroyed(seeds: Sequence[int], on: bool) -> Finding:
    test = mixed(WHOLE, "test")
    runs = [
        joined(adapterfusion.using(epochs=40) if on else None, WHOLE, test, seed, mixed(WHOLE, "train", 40, seed))
        for seed in seeds
    ]
    bits = all(kept(run, WHOLE) for run in runs)
    alone = all(_of_one_is_that_one(seed) for seed in seeds)
    return Finding(
        {**table(runs, "fused"), "experts_keep_their_bits": bits, "of_one_is_that_one": alone},
        "on images of three tasks in one set, 40 labels each, 25 points above the best expert and above their average in each "
        "seed; the experts keep their bits; untaught, over one expert it answers as that expert does, to 1e-5",
        beats(runs, 25) and bits and alone,
    )


def _of_one_is_that_one(seed: int) -> bool:
    model = experts(["one"], seed=seed)
    return same(model, given("one", "test")[0], Tree(Fuse)(model, ["one"]), "one")


@written(
    papers=["ScaLearn: Simple and Highly Parameter-Efficient Task Transfer by Learning to Scale"],
    needs=["adapters", "train"],
)
def scalearn(each: str = "channel", epochs: int = 10, lr: float = 3e-2) -> Together:
    """A learned factor on each channel of each frozen adapter, not bound to add up to one (Frohmann et al., 2024)."""
    return Together(Tree(Learned, {"each": each}), CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@scalearn.claim
def _scaled_and_not_averaged(seeds: Sequence[int], on: bool) -> Finding:
    test = given(BOTH, "test")

    def run(each: str, seed: int) -> Joined:
        made = scalearn.using(each=each, epochs=40) if on else None
        return joined(made, HALVES, test, seed, given(BOTH, "train", 60, seed))

    runs = [run("channel", seed) for seed in seeds]
    fewer = {each: [run(each, seed) for seed in seeds] for each in ("site", "all")}
    counts = {each: _learned(found[0].adapter) for each, found in {"channel": runs, **fewer}.items()}
    alone = all(_one_factor_is_that_expert(seed) for seed in seeds)
    return Finding(
        {
            **table(runs, "scaled_by_channel"),
            **{f"scaled_by_{each}": [round(one.joined, 1) for one in found] for each, found in fewer.items()},
            "learned_numbers": counts,
            "one_factor_of_1_is_that_expert": alone,
        },
        "on a task that needs two of three experts, 60 labels, 25 points above the best expert and above their average in each "
        "seed, whether there is a factor a channel, a site or an expert; factors of 1 and 0 are that expert, to 1e-5",
        all(beats(found, 25) for found in (runs, *fewer.values())) and alone,
    )


def _learned(adapter: Adapter) -> int:
    return sum(parameter.numel() for parameter in adapter.parameters())


@torch.no_grad()
def _one_factor_is_that_expert(seed: int) -> bool:
    model = experts(HALVES, seed=seed)
    tree = Tree(Learned, {"each": "channel"})(model, HALVES)
    found = []
    for index, task in enumerate(HALVES):
        for scale in tree.parameters():
            scale.zero_()[index] = 1
        found.append(same(model, given(task, "test")[0], tree, task))
    return all(found)


@written(
    papers=["Knowledge Composition using Task Vectors with Learned Anisotropic Scaling"], needs=["adapters", "train"]
)
def atlas(start: float | None = None, epochs: int = 10, lr: float = 3e-2) -> Together:
    """A learned coefficient on each block of each task vector (Zhang et al., 2024)."""
    tree = Tree(Learned, {"each": "site", "start": start})
    return Together(tree, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@atlas.claim
def _better_than_any_one_coefficient(seeds: Sequence[int], on: bool) -> Finding:
    test = given(BOTH, "test")
    vectors = {"method": Full(), "at": "all", "lr": 1e-3}
    runs, best, equal = [], [], []
    for seed in seeds:
        train = given(BOTH, "train", 60, seed)
        runs.append(joined(atlas.using(epochs=40) if on else None, HALVES, test, seed, train, **vectors))
        best.append(max(_arithmetic(runs[-1], test, c / 10) for c in range(1, 16)))
        tree = Tree(Learned, {"start": 0.4})(runs[-1].model, HALVES)
        sums = Tree(Average, {"weights": (0.4,) * 3})(runs[-1].model, HALVES, "arithmetic")
        equal.append(same(runs[-1].model, test[0], tree, sums))
    counted = _learned(runs[0].adapter)
    blocks = len(list(runs[0].adapter.modules()))
    return Finding(
        {
            **table(runs, "a_coefficient_a_block"),
            "one_coefficient_the_best_on_the_test": [round(value, 1) for value in best],
            "coefficients": counted,
            "blocks": blocks,
            "equal_coefficients_are_task_arithmetic": all(equal),
        },
        "one coefficient for each of 10 blocks (weights and biases) of each of three vectors; taught on 60 labels, 10 points "
        "above one coefficient for all, even the best for the test set, and 25 above the best expert, in each seed; equal "
        "coefficients are task arithmetic, to 1e-5",
        counted == 3 * blocks == 30
        and beats(runs, 25)
        and all(run.joined >= other + 10 for run, other in zip(runs, best, strict=True))
        and all(equal),
        "a coefficient a block was not better here than one a vector, learned (see scalearn): the blocks want alike",
    )


def _arithmetic(run: Joined, test: tuple[torch.Tensor, torch.Tensor], coefficient: float) -> float:
    made = Tree(Average, {"weights": (coefficient,) * 3})(run.model, HALVES, "arithmetic")
    found = accuracy(run.model, test, made)
    made.detach()
    return found
