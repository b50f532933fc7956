"""Layers made one layer run again, and each depth given back what that left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from acclimate.bench.experts import accuracy
from acclimate.bench.experts import taught as teach
from acclimate.bench.relearn import known, network
from acclimate.compose import extract
from acclimate.engine import attach
from acclimate.loops import predict
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At
from acclimate.surgery import looped

__all__ = ["relaxed_recursive"]

LAYERS = ("2", "4", "6")
AT = tuple(f"{layer}.weight" for layer in LAYERS)


@written(papers=["Relaxed Recursive Transformers: Effective Parameter Sharing with Layer-wise LoRA"], needs=["train"])
def relaxed_recursive(classes: int | None = None, rank: int = 8, at: At = ("q", "v"), epochs: int = 2) -> Sentence:
    """A LoRA for each depth of a model whose layers are one, run again and again (Bae et al., 2025).

    `acclimate.surgery.looped` makes the model, and `extract` from the original is where the LoRAs start.
    """
    return supervised({LoRA(rank=rank): at}, classes, epochs, Gradient())


@relaxed_recursive.claim
def _exact_at_full_rank(seeds: Sequence[int], on: bool) -> Finding:
    whole, test = network(), known("test")
    answers = predict(whole, (test[0],))
    shared = looped(whole, LAYERS)
    once = len({p.data_ptr() for p in shared.parameters()}) / len(list(shared.parameters()))
    errors: dict[int, float] = {}
    scores: dict[str, Any] = {
        "original": round(accuracy(whole, test), 1),
        "one_layer": round(accuracy(shared, test), 1),
    }
    for rank in (1, 8, 32, 128):
        again = looped(whole, LAYERS)
        if on:
            extract(again, whole, "relaxed", rank=rank)
        else:
            attach(again, LoRA(rank=rank), at=AT, name="relaxed")
        errors[rank] = float((predict(again, (test[0],)) - answers).abs().max() / answers.abs().max())
        scores[f"rank_{rank}"] = round(accuracy(again, test, "relaxed"), 1)
    taught = []
    for seed in seeds:
        again = looped(whole, LAYERS)
        start = extract(again, whole, "relaxed", rank=8)
        teach(again, known("train"), seed, epochs=3, lr=1e-3)
        taught.append(round(accuracy(again, test, start), 1))
    held = sum(p.numel() for p in whole.parameters())
    parameters = {"original": held, "looped_and_rank_8": held - 2 * (128 * 128 + 128) + 3 * (2 * 8 * 128)}
    return Finding(
        {
            "accuracy": scores,
            "rank_8_taught": taught,
            "largest_error_by_rank": {str(rank): f"{error:.1e}" for rank, error in errors.items()},
            "tensors_in_memory_of_all": round(once, 2),
            "parameters": parameters,
        },
        "three layers as one: with updates of full rank the original's answers to 1e-4, with every rank less the error grows; "
        "taught at rank 8 at most 3 points below the original in each seed, in two thirds of its parameters or fewer",
        errors[128] < 1e-4
        and errors[1] > errors[8] > errors[32] > errors[128]
        and min(taught) >= scores["original"] - 3
        and parameters["looped_and_rank_8"] <= 2 / 3 * held,
        "early exits and batches of several depths are not here",
    )
