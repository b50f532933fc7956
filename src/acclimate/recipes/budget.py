"""A budget of ranks, spent where they do most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acclimate.bench.experts import LAYERS
from acclimate.bench.first_step import unchanged
from acclimate.bench.relearn import network, rearranged
from acclimate.engine import Method, adapters
from acclimate.loops import Run, finetune
from acclimate.losses import CrossEntropy, Penalty
from acclimate.methods import AdaLoRA, Head, LoRA
from acclimate.players import RankBudget
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["adalora"]


@written(papers=["Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning"], needs=["train"])
def adalora(
    classes: int | None = None,
    rank: float = 8.0,
    start: int = 12,
    at: At = ("q", "k", "v", "o", "up", "down"),
    orthogonal: float = 0.1,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Low-rank updates that lose their least important ranks, down to ``rank`` on average (Zhang et al., 2023)."""
    head: dict[Method, At] = {} if classes is None else {Head(classes=classes): ""}
    loss = CrossEntropy() + orthogonal * Penalty()
    return Sentence(
        {AdaLoRA(rank=start): at, **head}, loss, finetune(epochs=epochs), Gradient(lr=lr), (RankBudget(rank=rank),)
    )


@adalora.claim
def _ranks_go_where_they_do_most(seeds: Sequence[int], on: bool) -> Finding:
    budget, loss, counts = RankBudget(rank=2), CrossEntropy() + 0.1 * Penalty(), list[tuple[float, int]]()

    def count(run: Run) -> None:
        counts.append(((run.step - 1) / run.steps, sum(_active(run.adapters[0].model))))

    ways: dict[str, dict[str, Any]] = {
        "lora_rank_2": {"method": LoRA(rank=2)},
        "adalora": {"method": AdaLoRA(rank=4 if on else 2), "loss": loss, "callbacks": [count]},
    }
    ways["adalora"] |= {"players": [budget]} if on else {}
    runs, table = compared({name: {**way, "at": LAYERS, "epochs": 60, "lr": 1e-2} for name, way in ways.items()}, seeds)
    kept = on and all(active == budget.budget(progress, sites=4, ranks=16) for progress, active in counts)
    same = all(unchanged(network(), rearranged("test")[0], {AdaLoRA(rank=4): LAYERS}, seed) for seed in seeds)
    table |= {
        "active_ranks_by_layer": [_active(run.model) for run in runs["adalora"]],
        "active_ranks_as_scheduled_after_every_step": kept,
        "untaught_the_base_bitwise": same,
    }
    return Finding(
        table,
        "with two ranks a layer on average at most 0.8 of the nats of LoRA of rank 2 in each seed; after every one of the updates "
        "exactly as many values are not zero as the cubic schedule says; untaught the base to the bit",
        below(runs["adalora"], runs["lora_rank_2"], 0.8) and kept and same,
        "in a third of the epochs LoRA of rank 2 was ahead: the ranks that were chosen have then hardly been trained",
    )


def _active(model: Any) -> list[int]:
    found = [module for adapter in adapters(model).values() for _, module in adapter.modules()]
    return [int(module.values.count_nonzero()) for module in found if isinstance(module, AdaLoRA.Module)]
