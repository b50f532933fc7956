"""What theory says of how quick a LoRA's gradient can be, and where a real encoder lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from acclimate.bench.attention_norms import gradient_error, sizes
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["lora_limits"]

THRESHOLD = math.sqrt(math.log(64))
"""The size of queries and keys up to which attention over 64 tokens is a product of thin matrices."""


@written(papers=["Computational Limits of Low-Rank Adaptation (LoRA) for Transformer-Based Models"], needs=["train"])
def lora_limits(
    classes: int | None = None, rank: int = 8, alpha: float | None = None, at: At = ("q", "v"), epochs: int = 2
) -> Sentence:
    """LoRA, whose gradient is quick to approximate while queries and keys are small (Hu et al., 2025)."""
    return supervised({LoRA(rank=rank, alpha=alpha): at}, classes, epochs, Gradient())


@lora_limits.claim
def _small_is_quick(seeds: Sequence[int], on: bool) -> Finding:
    shares = (0.5, 1.0, 2.0, 4.0, 8.0)
    errors = {
        share: [gradient_error((share if on else 8.0) * THRESHOLD, 4, seed) for seed in seeds] for share in shares
    }
    worst, least = {s: max(e) for s, e in errors.items()}, {s: min(e) for s, e in errors.items()}
    return Finding(
        {
            "error_of_the_gradient_by_size_over_threshold": {
                f"{share:g}": [float(f"{e:.1e}") for e in found] for share, found in errors.items()
            },
            "sizes_in_MiniLM_over_threshold": sizes(),
        },
        "one head over 64 tokens, its exponential replaced by a polynomial of degree 4: up to the root of log 64 the gradient for "
        "B is off by 1e-3 at most, at four times that by a fifth or more, and the error grows with the size, in each seed",
        worst[1.0] <= 1e-3
        and least[4.0] >= 0.2
        and all(a < b for s, t in itertools.pairwise(shares) for a, b in zip(errors[s], errors[t], strict=True)),
        "the time that an algorithm would save was not measured, and on a real encoder there would be little: largest queries and "
        "keys of MiniLM are at 2 to 5 times the threshold in every layer",
    )
