"""Which method for how many numbers, on a transformer over spectrograms."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from statistics import mean

from acclimate.bench.first_step import unchanged
from acclimate.bench.spectrograms import heard, listener, tones
from acclimate.engine import Method
from acclimate.methods import Bottleneck, Full, LoRA, Prefix
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["spectrogram_adapters"]

Way = Mapping[Method, At]
BEHIND: At = ("o", "down")
BUDGETS = (2, 8)


@written(
    papers=["Parameter-Efficient Transfer Learning of Audio Spectrogram Transformers"],
    needs=["train"],
    seeds=(0, 1),
)
def spectrogram_adapters(
    classes: int | None = None,
    width: int = 8,
    reads: str = "output",
    residual: bool = True,
    at: At = BEHIND,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Bottlenecks in sequence or in parallel, with or without a residual (Cappellazzo et al., 2024)."""
    method = Bottleneck(width=width, reads=reads, residual=residual)  # type: ignore[arg-type]
    return supervised({method: at}, classes, epochs, Gradient(lr=lr))


def _ways(size: int) -> dict[str, Way]:
    return {
        "sequential": {Bottleneck(width=size): BEHIND},
        "parallel": {Bottleneck(width=size, reads="input"): BEHIND},
        "lora": {LoRA(rank=size): ("q", "v")},
        "prefix": {Prefix(length=2 * size): "attention"},
    }


@functools.cache
def _grid(seeds: tuple[int, ...]) -> dict[str, tuple[list[float], int]]:
    """Held-out accuracies by method, budget and number of labels, and what was trained."""
    single: dict[str, Way] = {"head_only": {}, "biases": {Full(): "*.bias"}}
    single["sequential_without_residual_8"] = {Bottleneck(width=8, residual=False): BEHIND}
    grid = single | {f"{name}_{size}": way for size in BUDGETS for name, way in _ways(size).items()}
    found = {}
    for rows, epochs in ((400, 8), (60, 12)):
        some = (
            grid if rows == 400 else {"head_only": grid["head_only"], **{f"{n}_8": way for n, way in _ways(8).items()}}
        )
        for name, way in some.items():
            runs = [heard(way, "shape", seed, rows=rows, epochs=epochs) for seed in seeds]
            found[f"{name}_of_{rows}"] = [run.accuracy for run in runs], runs[0].parameters
    return found


@spectrogram_adapters.claim
def _the_grid(seeds: Sequence[int], on: bool) -> Finding:
    images = tones("shape", 8)[0]
    kept = Bottleneck(width=8, residual=on)
    same = all(unchanged(listener(), images, {kept: BEHIND}, seed) for seed in seeds)
    breaks = not unchanged(listener(), images, {Bottleneck(width=8, residual=False): BEHIND}, 0)
    found = _grid(tuple(seeds))
    means = {name: mean(accuracies) for name, (accuracies, _) in found.items()}
    adapters = [f"{name}_8_of_400" for name in ("sequential", "parallel")]
    return Finding(
        {
            "untaught_the_base_bitwise": same,
            "without_residual_not": breaks,
            "accuracy": {name: [round(a, 1) for a in accuracies] for name, (accuracies, _) in found.items()},
            "parameters": {name: count for name, (_, count) in found.items() if name.endswith("_400")},
        },
        "with its residual a bottleneck is the base to the bit at first, without not; of 400 labels both forms of it on average "
        "5 points above a head alone",
        same and breaks and all(means[name] >= means["head_only_of_400"] + 5 for name in adapters),
        "that adapters lead the other methods, and that the residual serves, were looked for and not seen: LoRA leads both forms, "
        "and a bottleneck without residual, which leaves out what the frozen layers put there, leads all",
    )
