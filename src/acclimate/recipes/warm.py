"""Adapters that start where others ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import nn

from acclimate.bench.experts import Data, accuracy, experts, given
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Head
from acclimate.recipes.merged import held
from acclimate.recipes.recipe import Finding, Together, written
from acclimate.rules import Gradient

__all__ = ["Warm", "pvp"]

HEAD = "8"
"""The classifier of the small network."""


@dataclass(frozen=True)
class Warm:
    """A new adapter of the first one's methods and sites with its values, or the mean of theirs; what was given is disabled.

    ``classes`` puts a new head in the old one's place.
    """

    classes: int | None = None
    head: str = "head"

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "warm", seed: int = 0, data: Any = None
    ) -> Adapter:
        members = held(model, adapters)
        for each in members:
            each.disable()
        placed: dict[Any, Any] = {
            part.method: lambda site, keys=part.keys: site.key in keys for part in members[0].parts
        }
        if self.classes is not None:
            placed[Head(classes=self.classes)] = self.head
        made = attach(model, placed, name=name, seed=seed)
        own = made.tensors()
        with torch.no_grad():
            for key in members[0].tensors():
                own[key].copy_(torch.stack([each.tensors()[key] for each in members]).mean(0))
        return made


@written(papers=["PVP: Pre-trained Visual Parameter-Efficient Tuning"], needs=["adapters", "train"])
def pvp(epochs: int = 20, lr: float = 1e-3) -> Together:
    """An adapter taught upstream as the start of one for few labels (Song et al., 2023); `Warm` can put a new head on."""
    return Together(Warm(), CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@pvp.claim
def _few_labels_are_enough(seeds: Sequence[int], on: bool) -> Finding:
    upstream = "one" if on else "two"
    rows: dict[str, list[float]] = {"unadapted": [], "upstream_as_it_is": []}
    for seed in seeds:
        model = experts([upstream], seed=seed)
        test = given("streaked+one", "test")
        rows["unadapted"].append(accuracy(model, test))
        rows["upstream_as_it_is"].append(accuracy(model, test, upstream))
        for shots in (1, 2):
            data = _shots(shots, seed)
            for name, start in (("warm", True), ("fresh", False)):
                rows.setdefault(f"{name}_{shots}_a_class", []).append(_taught(upstream, data, test, seed, start))
    means = {name: mean(found) for name, found in rows.items()}
    return Finding(
        {name: [round(value, 1) for value in found] for name, found in rows.items()},
        "with one and two labels a class, on average 10 points above the same adapter from a start of its own, above upstream's "
        "as it is, and above the unadapted network",
        all(
            means[f"warm_{shots}_a_class"]
            >= max(means[f"fresh_{shots}_a_class"] + 10, means["upstream_as_it_is"], means["unadapted"])
            for shots in (1, 2)
        ),
        "upstream is a task near the one that is asked; one that is far (the control) helps by less than that",
    )


def _shots(many: int, seed: int) -> Data:
    """So many images of each digit."""
    images, labels = given("streaked+one", "train")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    drawn = torch.cat([order[labels[order] == digit][:many] for digit in range(10)])
    return images[drawn], labels[drawn]


def _taught(upstream: str, data: Data, test: Data, seed: int, warm: bool) -> float:
    """Held-out accuracy in percent; the one that is not warm starts as its method does."""
    model = experts([upstream], seed=seed)
    if not warm:
        with torch.no_grad():
            for key, tensor in held(model, [upstream])[0].tensors().items():
                drawn = (
                    torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)) / tensor.shape[-1] ** 0.5
                )
                tensor.copy_(0 * tensor if key.endswith("/up") else drawn)
    made = Warm(10, HEAD)(model, [upstream], seed=seed)
    rule, loop = Gradient(lr=1e-2), finetune(epochs=60)
    fit(model, Batches(*data, 10, seed=seed), CrossEntropy(), loop, rule, seed=seed, check=False, progress=False)
    return accuracy(model, test, made)
