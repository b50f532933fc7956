"""What comparisons of methods on streams depend on: how settings were chosen, and the order of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from acclimate.bench import shift
from acclimate.bench.conditions import Moment, Order, Stream
from acclimate.bench.digits import digits
from acclimate.bench.streaming import streamed
from acclimate.loops import Adaptation
from acclimate.recipes.recipe import Finding, written
from acclimate.recipes.shifted import least_gain, rounded
from acclimate.recipes.tta import tent

__all__ = ["pitfalls"]

_GRID = [(lr, steps) for lr in (1e-3, 5e-2) for steps in (1, 3)]


@written(papers=["On Pitfalls of Test-Time Adaptation"], needs=["stream"])
def pitfalls(lr: float = 1e-3, steps: int = 1) -> Adaptation:
    """Tent at one of the settings that it is compared over (Zhao et al., 2023); the claim has the comparison."""
    return tent.using(lr=lr, steps=steps).adaptation


@pitfalls.claim
def _settings_and_order_decide(seeds: Sequence[int], on: bool) -> Finding:
    """Four settings on 36 batches of 25, noisy, turned and clean. The oracle chooses by the labels of the very
    stream, which nobody who adapts can: it is there as what the paper warns of."""
    rows: dict[str, list[float]] = {}
    for order in ("shuffled", "sorted"):
        streams = [_short(order, seed) for seed in seeds]
        ways: Mapping[str, Adaptation | None] = {
            "unadapted": None,
            "batch_statistics_alone": shift.STATISTICS,
            **{f"lr {lr} x {steps}": pitfalls.using(lr=lr, steps=steps).adaptation for lr, steps in _GRID if on},
        }
        found = {
            name: [shift.percent(*streamed(each, m, s)) for m, s in zip(streams, seeds, strict=True)]
            for name, each in ways.items()
        }
        grid = [row for name, row in found.items() if name != "unadapted" and (not on or "lr" in name)]
        rows |= {
            f"{name}_{order}": row for name, row in found.items() if name in ("unadapted", "batch_statistics_alone")
        }
        rows[f"oracle_{order}"] = [max(of) for of in zip(*grid, strict=True)]
        rows[f"default_{order}"] = grid[0]
        rows[f"worst_{order}"] = [min(of) for of in zip(*grid, strict=True)]
    return Finding(
        rounded(rows),
        "in each seed, classes mixed: the settings' best at least 10 points above their worst, the worst below statistics "
        "alone; classes sorted: the best of them below the unadapted model",
        least_gain(rows, "oracle_shuffled", "worst_shuffled") >= 10
        and least_gain(rows, "batch_statistics_alone_shuffled", "worst_shuffled") > 0
        and least_gain(rows, "unadapted_sorted", "oracle_sorted") > 0,
        "one method of the paper's ten, on one network: its ranking of methods, its kinds of shift and how gains depend on the "
        "trained network were not measured",
    )


def _short(order: Order, seed: int) -> list[Moment]:
    images, labels = (each[::2] for each in digits("test"))
    return list(Stream(images, labels, order, 0.5, 25, seed, ("noise", "rotation", "clean")))
