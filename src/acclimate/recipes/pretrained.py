"""Pretraining with fewer parameters than weights: what is trained is an update of nothing."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import nn

from acclimate.bench.relearn import INNER, known, network
from acclimate.data import Batches
from acclimate.engine import attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Full, LoRA, SLTrain
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["sltrain"]


@written(
    papers=["SLTrain: a sparse plus low-rank approach for parameter and memory efficient pretraining"], needs=["train"]
)
def sltrain(
    classes: int | None = None,
    rank: int = 8,
    density: float = 0.03,
    at: At = ("attention", "mlp"),
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """A low-rank product beside values on fixed random places; of zero weights, it pretrains (Han et al., 2024)."""
    return supervised({SLTrain(rank=rank, density=density): at}, classes, epochs, Gradient(lr=lr))


@sltrain.claim
def _of_full_rank_for_the_price_of_a_low_one(seeds: Sequence[int], on: bool) -> Finding:
    ways: dict[str, LoRA | None] = {
        "sparse_and_low_rank": SLTrain(rank=4, density=0.03) if on else LoRA(rank=6),
        "low_rank_6": LoRA(rank=6),
        "full": None,
    }
    rows = {name: [_pretrained(method, seed) for seed in seeds] for name, method in ways.items()}
    table: dict[str, Any] = {"untrained_accuracy": [round(_pretrained(None, seed, 0)["accuracy"], 1) for seed in seeds]}
    for name, found in rows.items():
        table[f"{name}_accuracy"] = [round(run["accuracy"], 1) for run in found]
        table[f"{name}_lowest_rank_of_a_layer"] = [int(run["rank"]) for run in found]
        table[f"{name}_parameters"] = int(found[0]["parameters"])
    ours, low, full = rows.values()
    return Finding(
        table,
        "trained from nothing, layers of at least 20 times the rank of what is low in them, with fewer parameters than a low rank "
        "of 6 and a quarter of the full ones, so a quarter of the optimiser's state; in each seed 50 points above the "
        "untrained network, on average at most 20 below full training",
        all(run["rank"] >= 80 for run in ours)
        and ours[0]["parameters"] <= min(low[0]["parameters"], full[0]["parameters"] / 4)
        and all(run["accuracy"] >= before + 50 for run, before in zip(ours, table["untrained_accuracy"], strict=True))
        and mean(run["accuracy"] for run in ours) >= mean(run["accuracy"] for run in full) - 20,
        "that it learns better than low rank alone for as many parameters was looked for and not seen at this size, where a "
        "low rank of 6 is enough: it is 1 to 8 points ahead. The dense weight is kept for the backward pass, not made again",
    )


def _pretrained(method: LoRA | None, seed: int, epochs: int = 15) -> dict[str, float]:
    """The digits from an untrained network, whose inner layers are zero but for the method; None trains all of it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        rest = [name for name, _ in model.named_parameters() if method is None or name not in INNER]
        methods: dict[Any, Any] = {Full(): rest} if method is None else {method: INNER, Full(): rest}
        adapter = attach(model, methods, seed=seed)
        with torch.no_grad():
            for key, module in adapter.modules():
                if isinstance(module, LoRA.Module):
                    model.get_submodule(key.rpartition(".")[0])._parameters["weight"].zero_()  # type: ignore[union-attr]
                    nn.init.uniform_(module.up, -(module.up.shape[1] ** -0.5), module.up.shape[1] ** -0.5)
                if isinstance(module, SLTrain.Module):
                    nn.init.uniform_(module.values, -(128**-0.5), 128**-0.5)
    if epochs:
        rule = Gradient(lr=1e-3 if method is None else 3e-3)
        data = Batches(*known("train"), 64, seed=seed)
        fit(model, data, CrossEntropy(), finetune(epochs=epochs), rule, seed=seed, check=False, progress=False)
    accuracy = evaluate(model, known("test")).accuracy
    assert accuracy is not None
    layers = [model.get_submodule(key.rpartition(".")[0]) for key in INNER]
    ranks = [int(torch.linalg.matrix_rank(layer.weight.detach())) for layer in layers]  # type: ignore[operator, union-attr, arg-type]
    parameters = sum(p.numel() for name, p in adapter.named_parameters() if any(key in name for key in INNER))
    return {"accuracy": 100 * accuracy, "rank": min(ranks), "parameters": parameters}
