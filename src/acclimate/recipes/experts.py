"""Experts: those that a dense network has already."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from acclimate.bench.emergent import EXPERTS, corrupted, planted, shuffled
from acclimate.bench.relearn import INNER, network, rearranged
from acclimate.data import Batches
from acclimate.engine import attach
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import EmergentExperts, Full, LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["emergent_experts"]


@written(
    papers=[
        "Emergent Mixture-of-Experts: Can Dense Pre-trained Transformers Benefit from Emergent Modular Structures?"
    ],
    needs=["train"],
)
def emergent_experts(
    classes: int | None = None, experts: int = 8, top: int = 4, rank: int = 8, at: At = ("q", "v"), epochs: int = 2
) -> Sentence:
    """LoRA while each token runs a few groups of a feed-forward's units (Qiu, Huang, Fu, 2023)."""
    made = supervised({LoRA(rank=rank): at}, classes, epochs, Gradient())
    return Sentence({**made.method, EmergentExperts(experts, top): "up"}, made.loss, made.loop, made.rule)


@emergent_experts.claim
def _groups_of_like_keys_stand_for_the_layer(seeds: Sequence[int], on: bool) -> Finding:
    table: dict[str, list[float]] = {"planted_error": [], "planted_error_of_random_groups": []}
    recovered, dense = [], []
    for seed in seeds:
        table["planted_error"].append(_planted(seed, on)[0])
        table["planted_error_of_random_groups"].append(_planted(seed, False)[0])
        recovered.append(_planted(seed, on)[1])
        dense.append(_dense_to_the_bit(seed))
    tuned = {
        name: [_tuned(seed, top) for seed in seeds] for name, top in {"tuned_dense": None, "tuned_sparse": 4}.items()
    }
    measured = {name: [round(v, 4) for v in found] for name, found in table.items()}
    for name, found in tuned.items():
        measured[f"{name}_accuracy"] = [round(own, 1) for own, _ in found]
        measured[f"{name}_corrupted_accuracy"] = [round(other, 1) for _, other in found]
    return Finding(
        {**measured, "planted_groups_found": recovered, "all_experts_are_the_base_bitwise": dense},
        "all experts on are the base to the bit, and nothing is added to train; planted groups are found exactly, and two of "
        "eight give the layer's output to 1e-5, where random groups are wrong by half",
        all(dense)
        and all(recovered)
        and max(table["planted_error"]) < 1e-5
        and min(table["planted_error_of_random_groups"]) > 0.5,
        "the paper's gain out of distribution is not seen: the small digits network, which has no residual path, tuned with "
        "half its experts and then run dense, is worse than tuned dense; in a sentence encoder of 22 M parameters two of eight "
        "groups kept no more of the states than random groups, beyond chance",
    )


def _planted(seed: int, alike: bool) -> tuple[float, bool]:
    """The error of two experts relative to the layer's output, and whether the groups are those that were planted."""
    model, x, expert = planted(seed)
    y = model(x)
    adapter = attach(model, EmergentExperts(EXPERTS, 2), at="0.weight", seed=seed)
    if not alike:
        shuffled(adapter, seed)
    found = next(module for _, module in adapter.modules()).get_buffer("expert")
    together = (found[:, None] == found) == (expert[:, None] == expert)
    return float((model(x) - y).norm() / y.norm()), bool(together.all())


def _dense_to_the_bit(seed: int) -> bool:
    model, x = network(), rearranged("test")[0]
    with torch.no_grad():
        y = model(x)
        adapter = attach(model, EmergentExperts(8, 8), at=INNER, seed=seed)
        return torch.equal(model(x), y) and not adapter.parameters()


def _tuned(seed: int, top: int | None) -> tuple[float, float]:
    """The digits network tuned whole on rearranged digits, with ``top`` of eight experts meanwhile, and then run dense."""
    model = network()
    attach(model, Full(), at="all", name="tuned", seed=seed)
    experts = None if top is None else attach(model, EmergentExperts(8, top), at=INNER, name="experts", seed=seed)
    data = Batches(*rearranged("train"), 64, seed=seed)
    fit(model, data, CrossEntropy(), finetune(epochs=15), Gradient(lr=1e-3), seed=seed, check=False, progress=False)
    if experts is not None:
        experts.detach()
    return corrupted(model)
