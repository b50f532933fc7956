"""Weights whose signs and zeros are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.experts import LAYERS
from acclimate.bench.relearn import network, rearranged
from acclimate.data import Batches
from acclimate.engine import attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Full, Signed
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["circuit_priors"]


@written(papers=["Neural Circuit Architectural Priors for Embodied Control"], needs=["train"])
def circuit_priors(
    classes: int | None = None, at: At = ("attention", "mlp"), lr: float | None = None, epochs: int = 2
) -> Sentence:
    """Every entry of a weight grows or shrinks, and keeps its sign and its place (Bhattasali et al., 2022)."""
    return supervised({Signed(): at}, classes, epochs, Gradient(lr=lr))


@circuit_priors.claim
def _signs_and_zeros_stay(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[Any]] = {}
    for seed in seeds:
        for name, made in {"signed": Signed() if on else Full(), "full": Full()}.items():
            model = _circuit()
            before = _accuracy(model)
            bases = [model.get_parameter(key).detach().clone() for key in PLACES]
            attach(model, made, at=PLACES, seed=seed)
            rule = Gradient(lr=1e-2 if isinstance(made, Signed) else 1e-3)
            data = Batches(*rearranged("train"), 128, seed=seed)
            fit(model, data, CrossEntropy(), finetune(epochs=20), rule, seed=seed, check=False, progress=False)
            changed = sum(_changed(model, key, base) for key, base in zip(PLACES, bases, strict=True))
            rows.setdefault(f"{name}_signs_or_zeros_changed", []).append(changed)
            rows.setdefault(f"{name}_accuracy", []).append(round(_accuracy(model), 1))
        rows.setdefault("unadapted_accuracy", []).append(round(before, 1))
    return Finding(
        rows,
        "in a network of which three quarters of the weights are zero, no sign and no zero changes while it learns, "
        "where full tuning changes thousands, and accuracy on rearranged digits is 30 points above the unadapted network "
        "in each seed",
        not any(rows["signed_signs_or_zeros_changed"])
        and min(rows["full_signs_or_zeros_changed"]) > 1000
        and all(a >= b + 30 for a, b in zip(rows["signed_accuracy"], rows["unadapted_accuracy"], strict=True)),
        "the swimmer and its body of repeated joints are not here: only the way its weights are held is",
    )


PLACES = tuple(str(key) for key in LAYERS)  # type: ignore[union-attr]


@torch.no_grad()
def _circuit() -> nn.Module:
    """The network with the smaller three quarters of each layer's entries at zero."""
    model = network()
    for key in PLACES:
        weight = model.get_parameter(key)
        weight.mul_(weight.abs() >= weight.abs().flatten().quantile(0.75))
    return model


def _changed(model: nn.Module, key: str, base: Tensor) -> int:
    now = model.get_submodule(key.removesuffix(".weight")).weight
    assert isinstance(now, Tensor)
    return int((now.detach().sign() != base.sign()).sum())


def _accuracy(model: nn.Module) -> float:
    found = evaluate(model, rearranged("test")).accuracy
    assert found is not None
    return 100 * found
