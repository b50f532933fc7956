"""Bottlenecks that hear those before them, beside the same ones on their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from acclimate.bench.experts import accuracy, given, taught
from acclimate.bench.relearn import network
from acclimate.engine import Method, attach
from acclimate.methods import Bottleneck, LinkedBottleneck
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["connected", "dense"]

LAYERS: At = ("0", "2", "4", "6")


@written(
    papers=[
        "Scattered or Connected? An Optimized Parameter-efficient Tuning Approach for Information Retrieval",
    ],
    needs=["train"],
    seeds=(0, 1, 2, 3, 4),
)
def connected(classes: int | None = None, width: int = 16, at: At = ("o", "down"), epochs: int = 2) -> Sentence:
    """Each bottleneck hears the one before it (Ma et al., 2022)."""
    return supervised({LinkedBottleneck(width=width): at}, classes, epochs, Gradient())


@connected.claim
def _fewer_steps(seeds: Sequence[int], on: bool) -> Finding:
    return _against_scattered("previous", seeds, on)


@written(
    papers=["Densely Connected Parameter-Efficient Tuning for Referring Image Segmentation"],
    needs=["train"],
    seeds=(0, 1, 2, 3, 4),
)
def dense(classes: int | None = None, width: int = 16, at: At = ("o", "down"), epochs: int = 2) -> Sentence:
    """Each bottleneck hears all before it (Huang et al., 2025)."""
    return supervised({LinkedBottleneck(width=width, links="all"): at}, classes, epochs, Gradient())


@dense.claim
def _all_before(seeds: Sequence[int], on: bool) -> Finding:
    return _against_scattered("all", seeds, on)


def _against_scattered(links: Literal["previous", "all"], seeds: Sequence[int], on: bool) -> Finding:
    linked = LinkedBottleneck(width=16, links=links) if on else Bottleneck(width=16)
    table = {
        f"{name}_{epochs}_epochs": [_learned(method, seed, epochs) for seed in seeds]
        for epochs in (6, 15)
        for name, method in (("scattered", Bottleneck(width=16)), ("linked", linked))
    }
    short = zip(table["linked_6_epochs"], table["scattered_6_epochs"], strict=True)
    plain = accuracy(network(), given("one", "test"))
    return Finding(
        {"unadapted": round(plain, 1), **{name: [round(v, 1) for v in values] for name, values in table.items()}},
        "digits with all pixels rearranged, after 6 epochs: 3 points above the same bottlenecks unlinked, in each seed, and 50 "
        "above the unadapted network",
        all(a >= b + 3 and a >= plain + 50 for a, b in short),
        "given 15 epochs the lead shrinks to one or two points; no language or image pairs are here, only the wiring",
    )


def _learned(method: Method, seed: int, epochs: int) -> float:
    model = network()
    adapter = attach(model, method, at=LAYERS, seed=seed)
    taught(model, given("one", "train"), seed, epochs, lr=3e-3)
    return accuracy(model, given("one", "test"), adapter)
