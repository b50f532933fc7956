"""Low-rank updates as their papers use them. The catalogue has no row for LoRA and DoRA; others are measured against them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from acclimate.bench import docstring_task as task
from acclimate.bench import wide
from acclimate.bench.magnitude import left_over
from acclimate.methods import DoRA, LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import accuracies, beside, for_docstrings, full, supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["dora", "lora", "lora_plus"]


@written(papers=[], needs=["train"])
def lora(
    classes: int | None = None,
    rank: int = 8,
    alpha: float | None = None,
    at: At = ("q", "v"),
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Low-rank updates of the query and value projections (Hu et al., 2021)."""
    return supervised({LoRA(rank=rank, alpha=alpha): at}, classes, epochs, Gradient(lr=lr))


@lora.claim
def _nearly_full_for_few_parameters(seeds: Sequence[int], on: bool) -> Finding:
    epochs = lora.defaults["epochs"]
    made = for_docstrings(lora) if on else supervised({}, task.classes(), epochs, Gradient())
    found = accuracies(made, seeds)
    measured, means = beside(epochs, seeds, lora=found, full=full(epochs, seeds))
    small = task.share(found[0].parameters) < 1
    gain = means["lora"] - max(means["head_only"], means["unadapted"])
    return Finding(
        measured,
        "mean accuracy at least 1 point above a head alone and above the unadapted encoder, at most 3 points below full, "
        "with under 1% of the encoder's parameters",
        small and gain >= 1 and means["lora"] >= means["full"] - 3,
    )


@written(papers=["LoRA+: Efficient Low Rank Adaptation of Large Models"], needs=["train"])
def lora_plus(
    classes: int | None = None,
    rank: int = 8,
    ratio: float = 16.0,
    at: At = ("q", "v"),
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """LoRA whose up-projection learns ``ratio`` times as fast as its down-projection (Hayou et al., 2024)."""
    return supervised({LoRA(rank=rank): at}, classes, epochs, Gradient(lr=lr, rates={"up": ratio}))


@lora_plus.claim
def _fewer_steps(seeds: Sequence[int], on: bool) -> Finding:
    ratio = lora_plus.defaults["ratio"] if on else 1.0
    rates = [1e-3 * 2**power for power in range(-2, 6)]
    steps = {each: [wide.steps_by_rate(each, rates, seed) for seed in seeds] for each in (1.0, ratio)}
    own = rates.index(LoRA.learning_rate)
    plain, faster = (mean(row[own] for row in steps[each]) for each in (1.0, ratio))
    best, best_faster = (mean(min(row) for row in steps[each]) for each in (1.0, ratio))
    same = all(wide.same_as_plain(seed) for seed in seeds)
    once = all(wide.each_parameter_once(ratio, seed) for seed in seeds)
    return Finding(
        {
            "unadapted_loss": round(wide.unadapted_loss(), 2),
            "target_loss": wide.TARGET,
            "most_steps": wide.STEPS,
            "steps_ratio_1": plain,
            f"steps_ratio_{ratio:g}": faster,
            "steps_ratio_1_at_its_best_rate": best,
            f"steps_ratio_{ratio:g}_at_its_best_rate": best_faster,
            "ratio_1_is_plain_lora_bitwise": same,
            "each_parameter_in_one_group": once,
        },
        "at LoRA's own learning rate at most 3/4 of the steps to the target loss, at the best of eight rates for each no "
        "more than a step slower; ratio 1 is plain LoRA to the bit; each parameter in exactly one group",
        faster <= 0.75 * plain and best_faster <= best + 1 and same and once,
    )


@written(papers=[], needs=["train"])
def dora(
    classes: int | None = None,
    rank: int = 8,
    alpha: float | None = None,
    at: At = ("q", "v"),
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Low-rank updates of the directions beside free magnitudes (Liu et al., 2024)."""
    return supervised({DoRA(rank=rank, alpha=alpha): at}, classes, epochs, Gradient(lr=lr))


@dora.claim
def _magnitudes_are_free(seeds: Sequence[int], on: bool) -> Finding:
    epochs = dora.defaults["epochs"]
    made = accuracies(for_docstrings(dora if on else lora), seeds)
    measured, means = beside(epochs, seeds, dora=made, lora=accuracies(for_docstrings(lora), seeds))
    kind = DoRA if on else LoRA
    missing = {
        "unadapted": 1.0,
        "dora_rank_1": mean(left_over(kind(rank=1), seed) for seed in seeds),
        "lora_rank_1": mean(left_over(LoRA(rank=1), seed) for seed in seeds),
        "lora_rank_8": mean(left_over(LoRA(rank=8), seed) for seed in seeds),
    }
    measured["missing_of_a_change_of_magnitudes"] = {name: round(value, 4) for name, value in missing.items()}
    return Finding(
        measured,
        "on docstrings at most 1 point below LoRA of equal rank and above a head alone; of a change of magnitudes that is "
        "of full rank, at rank 1 less than a fifth of what LoRA of rank 8 leaves is missing",
        means["dora"] >= means["lora"] - 1
        and means["dora"] > means["head_only"]
        and missing["dora_rank_1"] < missing["lora_rank_8"] / 5,
    )
