"""What the claims about changed domains have in common: a run for each seed, and the rows of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from acclimate.bench import shift
from acclimate.bench.conditions import Pair
from acclimate.bench.convnet import pretrained
from acclimate.recipes.recipe import Sentence

__all__ = ["baselines", "least_gain", "rounded", "scores", "taught"]

Rows = Mapping[str, Sequence[float]]


def taught(made: Sentence, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[nn.Module]:
    """The digits network after the sentence's run on each pair."""
    return [
        shift.taught(pair, made.method, made.loss, made.loop, made.rule, made.players, seed)
        for pair, seed in zip(pairs, seeds, strict=True)
    ]


def scores(models: Sequence[nn.Module], pairs: Sequence[Pair]) -> list[float]:
    """Accuracies in percent on the targets' tests."""
    return [shift.score(model, pair.test) for model, pair in zip(models, pairs, strict=True)]


def baselines(pairs: Sequence[Pair]) -> dict[str, list[float]]:
    """The scores of the unadapted model, and of statistics of the batch without anything learned."""
    return {
        "unadapted": scores([pretrained()] * len(pairs), pairs),
        "batch_statistics_alone": scores([shift.with_statistics()] * len(pairs), pairs),
    }


def least_gain(rows: Rows, name: str, over: str) -> float:
    """By how much one row is above another, in the seed where it is least.

    >>> least_gain({"tent": [80.0, 82.0], "frozen": [65.0, 64.0]}, "tent", "frozen")
    15.0
    """
    return min(a - b for a, b in zip(rows[name], rows[over], strict=True))


def rounded(rows: Rows, digits: int = 1) -> dict[str, list[float]]:
    """For a report.

    >>> rounded({"tent": [80.04, 82.0]})
    {'tent': [80.0, 82.0]}
    """
    return {name: [round(value, digits) for value in values] for name, values in rows.items()}
