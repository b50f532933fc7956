"""Activations that learn their own form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from acclimate.bench.first_step import unchanged
from acclimate.bench.relearn import INNER, network, rearranged
from acclimate.engine import Method
from acclimate.methods import LoRA, Rational
from acclimate.methods.rational import fitted, quotient
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared, parameters
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["kat"]

ACTIVATIONS = ("1", "3", "5", "7")


@written(papers=["Kolmogorov-Arnold Transformer"], needs=["train"])
def kat(
    classes: int | None = None, groups: int = 8, at: At = "encoder.*", lr: float | None = None, epochs: int = 2
) -> Sentence:
    """Every activation a quotient of polynomials, one for each group of channels (Yang and Wang, 2025)."""
    return supervised({Rational(groups=groups): at}, classes, epochs, Gradient(lr=lr))


@kat.claim
def _a_few_dozen_parameters_a_layer(seeds: Sequence[int], on: bool) -> Finding:
    low, form = LoRA(rank=1), Rational(groups=8, reach=6.0)
    both: dict[Method, At] = {low: INNER, form: ACTIVATIONS} if on else {low: INNER}
    ways: dict[str, dict[str, Any]] = {
        "lora_rank_1": {"method": low},
        "with_rational": {"method": both},
    }
    runs, table = compared({name: {**way, "lr": 1e-2} for name, way in ways.items()}, seeds)
    grid = torch.linspace(-3, 3, 1001)[None]
    fits = {kind.__name__: _missed(kind(), grid) for kind in (nn.GELU, nn.SiLU, nn.Tanh, nn.ReLU)}
    wide = quotient(1e3 * grid.double(), *(t.double() for t in fitted(nn.GELU(), 5, 4, 3.0)))
    same = all(unchanged(network(), rearranged("test")[0], {form: ACTIVATIONS}, seed) for seed in seeds)
    own = parameters(runs["with_rational"][0]) - parameters(runs["lora_rank_1"][0])
    table |= {
        "largest_error_of_the_fit": {name: float(f"{error:.1e}") for name, error in fits.items()},
        "parameters_of_four_activations": own,
        "finite_far_out": bool(wide.isfinite().all()),
        "untaught_the_base_bitwise": same,
    }
    return Finding(
        table,
        "fitted on [-3, 3] GELU, SiLU and tanh are met to 0.001 and ReLU to 0.05, and far out the quotient is finite; "
        "with 80 numbers for each activation beside LoRA of rank 1, fewer nats than LoRA alone in each seed; untaught "
        "the base to the bit",
        max(fits["GELU"], fits["SiLU"], fits["Tanh"]) < 1e-3
        and fits["ReLU"] < 0.05
        and bool(wide.isfinite().all())
        and own == 4 * 8 * (6 + 4)
        and below(runs["with_rational"], runs["lora_rank_1"])
        and same,
        "a transformer trained from nothing with such activations is not measured",
    )


def _missed(activation: nn.Module, grid: torch.Tensor) -> float:
    return float((quotient(grid, *fitted(activation, 5, 4, 3.0)) - activation(grid)).abs().max())
