"""Adapters in shares that the quality of each row says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from acclimate.bench.blurred import blurred, sharpness
from acclimate.bench.relearn import INNER, known, network
from acclimate.compose import Average, Graded, compose
from acclimate.compose.graded import Judged
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import evaluate, finetune, fit, predict
from acclimate.losses import CrossEntropy
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Together, written
from acclimate.rules import Gradient

__all__ = ["Joined", "petalface"]

PLACES = tuple(f"model.{key}" for key in ("0.weight", *INNER))


@dataclass(frozen=True)
class Joined:
    """The first adapter for rows of high quality, the second (or the average of the others) for rows of low; all learn."""

    otherwise: float

    def __call__(
        self, model: torch.nn.Module, adapters: Collection[Any], name: str = "graded", seed: int = 0, data: Any = None
    ) -> Adapter:
        sharp, *others = adapters
        tree = Graded(sharp, Average(*others) if len(others) > 1 else others[0], otherwise=self.otherwise)
        return compose(model, tree, name=name, train=[str(each) for each in adapters], seed=seed)


@written(
    papers=["PETALface: Parameter Efficient Transfer Learning for Low-resolution Face Recognition"],
    needs=["adapters", "train"],
)
def petalface(otherwise: float = 0.5, epochs: int = 2) -> Together:
    """Two adapters graded by the quality of each input (Narayan et al., 2024); say it by `Given` or `Judged`."""
    return Together(Joined(otherwise), CrossEntropy(), finetune(epochs=epochs), Gradient())


@petalface.claim
def _better_on_both_qualities(seeds: Sequence[int], on: bool) -> Finding:
    plain = network()
    rows: dict[str, list[Any]] = {name: [] for name in ("pair", "single")}
    counts: dict[str, int] = {}
    same = True
    for seed in seeds:
        for name in rows:
            model = Judged(network(), sharpness if on else _half)
            if name == "pair":
                adapter = compose(model, Graded(*[{LoRA(rank=2): PLACES}] * 2), name=name, seed=seed)
                same = same and torch.equal(predict(model, known("test")), predict(plain, known("test")))
            else:
                adapter = attach(model, LoRA(rank=4), at=PLACES, name=name, seed=seed)
            counts[f"{name}_parameters"] = sum(p.numel() for p in adapter.parameters())
            _teach(model, seed)
            rows[name].append((*_asked(model, known("test")), *_asked(model, blurred("test"))))
    of = {name: [list(each) for each in zip(*found, strict=True)] for name, found in rows.items()}
    measures = ("clean_nats", "clean_accuracy", "blurred_nats", "blurred_accuracy")
    table: dict[str, Any] = {f"unadapted_{m}": v for m, v in zip(measures, _both(plain), strict=True)}
    table |= {f"{name}_{m}": v for name, found in of.items() for m, v in zip(measures, found, strict=True)}
    pair, single = of["pair"], of["single"]
    return Finding(
        {**table, **counts, "the_base_untaught_bitwise": same},
        "taught clean and blurred digits alike for five epochs, two adapters graded by a frozen measure of sharpness have fewer "
        "nats on both than one with as many parameters in each seed, and at least the unadapted network's accuracy on clean "
        "ones, where one adapter loses some; untaught the base to the bit",
        same
        and all(a < b for m in (0, 2) for a, b in zip(pair[m], single[m], strict=True))
        and all(a >= table["unadapted_clean_accuracy"] > b for a, b in zip(pair[1], single[1], strict=True))
        and counts["pair_parameters"] == counts["single_parameters"],
        "the gain on blurred digits is one of speed: after 15 epochs the single adapter, with twice the rank for them, was better "
        "on blurred digits (0.76 to 0.80 nats) and still worse on clean ones (0.52 to 0.39)",
    )


def _half(images: Tensor) -> Tensor:
    return torch.full(images.shape[:1], 0.5)


def _teach(model: torch.nn.Module, seed: int) -> None:
    sets: list[Callable[..., tuple[Tensor, Tensor]]] = [known, blurred]
    images, labels = (torch.cat(each) for each in zip(*(of("train") for of in sets), strict=True))
    data = Batches(images, labels, 128, seed=seed)
    fit(model, data, CrossEntropy(), finetune(epochs=5), Gradient(lr=3e-3), seed=seed, check=False, progress=False)


def _asked(model: torch.nn.Module, data: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Nats, and accuracy in percent."""
    accuracy = evaluate(model, data).accuracy
    assert accuracy is not None
    return round(float(cross_entropy(predict(model, data), data[1])), 3), round(100 * accuracy, 1)


def _both(model: torch.nn.Module) -> tuple[float, ...]:
    return (*_asked(model, known("test")), *_asked(model, blurred("test")))
