"""Several models of the same quantiles as one, with weights for each level, ordered and calibrated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.planted import drawn
from acclimate.bench.spread import LEVELS, interval_score, network, pinball, rows
from acclimate.compose import Average, Learned, compose
from acclimate.data import Batches
from acclimate.engine import adapters, attach
from acclimate.loops import finetune, fit, predict
from acclimate.losses import Pinball
from acclimate.methods import Full, Quantiles
from acclimate.methods.quantiles import conformal
from acclimate.recipes.recipe import Finding, Together, Tree, written
from acclimate.rules import Gradient

__all__ = ["quantile_aggregation"]

HEAD = ("2.weight", "2.bias")


WEIGHED = Tree(Learned, {"each": "channel"})
"""Adapters of a model's head, each level weighed by numbers of its own, which begin as one over their count."""


@written(papers=["Flexible Model Aggregation for Quantile Regression"], needs=["adapters", "train"])
def quantile_aggregation(epochs: int = 20) -> Together:
    """Weights of several quantile models for each level, by the pinball loss (Fakoor et al., 2021)."""
    return Together(WEIGHED, Pinball(), finetune(epochs=epochs), Gradient(lr=1e-2))


@quantile_aggregation.claim
def _weighed_ordered_and_covering(seeds: Sequence[int], on: bool) -> Finding:
    table: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        table.setdefault(name, []).append(value)

    for seed in seeds:
        model, (x, y) = network(seed), rows(seed + 500, 2000)
        note("unadapted", pinball(predict(model, (x,)), y))
        names = _library(model, seed)
        note("best_of_the_library", min(_alone(model, name, x, y) for name in names))
        uniform = compose(model, Average(*names), name="uniform")
        note("uniform", pinball(predict(model, (x,)), y))
        if on:
            uniform.detach()
            WEIGHED(model, names, "aggregated", seed)
            _learn(model, *rows(seed + 300, 640), 30, seed, rate=1e-2)
        q, rise = predict(model, (x,)), torch.zeros(1)
        note("weighed", pinball(q, y))
        note("rows_that_cross", float((q.diff(dim=-1) < 0).any(-1).float().mean()))
        if on:
            ordered = attach(model, Quantiles(), at="", name="ordered", data=x[:2])
            rise = interval_score(predict(model, (x,)), y) - interval_score(q, y)
            held, truth = rows(seed + 900, 1000)
            conformal(ordered, LEVELS, predict(model, (held,)), truth)
        note("largest_rise_of_the_interval_score", float(rise.max()))
        note("coverage_before", _coverage(q, y))
        note("coverage", _coverage(predict(model, (x,)), y))
    measured = {name: [round(v, 4) if isinstance(v, float) else v for v in found] for name, found in table.items()}
    off_by = max(abs(a - b) for each in table["coverage"] for a, b in zip(each, (0.9, 0.8, 0.5), strict=True))
    return Finding(
        measured,
        "weights of each level's own have a lower pinball loss than the uniform average and than the best of four models, in each "
        "seed, on held-out rows; sorting raises no row's weighted interval score; calibrated on 1000 rows, intervals of 90, 80 and "
        "50 % cover within 0.05 of that",
        all(
            a < b
            for name in ("uniform", "best_of_the_library")
            for a, b in zip(table["weighed"], table[name], strict=True)
        )
        and min(table["rows_that_cross"]) > 0
        and max(table["largest_rise_of_the_interval_score"]) <= 1e-6
        and off_by <= 0.05,
        "the gain over the uniform average is small here, a few per cent at most",
    )


def _library(model: nn.Module, seed: int) -> list[str]:
    """Four heads: of few rows, of the left and of the right half of the first input, and of labels with noise."""
    x, y = rows(seed, 640)
    left = x[:, 0] < 0
    sets: dict[str, tuple[Tensor, Tensor]] = {
        "few": (x[:60], y[:60]),
        "left": (x[left], y[left]),
        "right": (x[~left], y[~left]),
        "noisy": (x[:200], y[:200] + 2 * drawn(seed + 5, 200)),
    }
    for name, data in sets.items():
        attach(model, Full(), at=HEAD, name=name, seed=seed)
        _learn(model, *data, 12800 // len(data[0]), seed, rate=2e-2)
        adapters(model)[name].disable()
    return list(sets)


def _learn(model: nn.Module, x: Tensor, y: Tensor, epochs: int, seed: int, rate: float) -> None:
    data, loss = Batches(x, y, 64, seed=seed), Pinball(LEVELS)
    fit(model, data, loss, finetune(epochs=epochs), Gradient(lr=rate), seed=seed, check=False, progress=False)


def _alone(model: nn.Module, name: str, x: Tensor, y: Tensor) -> float:
    adapters(model)[name].enable()
    found = pinball(predict(model, (x,)), y)
    adapters(model)[name].disable()
    return found


@torch.no_grad()
def _coverage(q: Tensor, y: Tensor) -> list[float]:
    """The share of rows inside each pair of levels, from the outermost."""
    inside = [((y >= q[:, k]) & (y <= q[:, -1 - k])).double().mean() for k in range(len(LEVELS) // 2)]
    return [round(float(share), 3) for share in inside]
