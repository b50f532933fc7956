"""Losses on the gates of routed adapters, and experts that are added and taken away."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.pixel_domains import accuracy, domain, mixed
from acclimate.bench.relearn import INNER, network
from acclimate.compose import Route, compose
from acclimate.compose.modular import extended, pruned
from acclimate.data import Batches
from acclimate.engine import Adapter, adapters
from acclimate.loops import finetune, fit
from acclimate.loops.taps import tapped
from acclimate.losses import CrossEntropy, GateConcentration, GateInformation, Loss
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Together, written
from acclimate.rules import Gradient

__all__ = ["Routed", "moduleformer"]

EXPERTS = 8


@dataclass(frozen=True)
class Routed:
    """A router over adapters that are there, which it goes on teaching."""

    top: int

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "routed", seed: int = 0, data: Any = None
    ) -> Adapter:
        tree = Route(*adapters, top=min(self.top, len(adapters)))
        return compose(model, tree, name=name, train=[str(each) for each in adapters], seed=seed)


@written(
    papers=["ModuleFormer: Learning Modular Large Language Models From Uncurated Data"], needs=["adapters", "train"]
)
def moduleformer(top: int = 2, concentration: float = 0.1, epochs: int = 2) -> Together:
    """Tune routed adapters so that few of them are used; what is not can be pruned (Shen et al., 2023)."""
    loss = CrossEntropy() + concentration * GateConcentration()
    return Together(Routed(top), loss, finetune(epochs=epochs), Gradient())


@moduleformer.claim
def _balanced_then_concentrated_pruned_and_extended(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[Any]] = {}

    def note(name: str, value: Any) -> None:
        rows.setdefault(name, []).append(round(value, 3) if isinstance(value, float) and value > 1e-3 else value)

    for seed in seeds:
        model, plain = (_pretrained(seed, CrossEntropy() + w * GateInformation()) for w in (0.3 if on else 0.0, 0.0))
        for name, each in {"balanced": model, "cross_entropy_alone": plain}.items():
            note(f"accuracy_{name}", accuracy(each, 0, 1))
            note(f"information_{name}", _gates(each, 0, 1)[1])
        for name, loss in {
            "concentrated": CrossEntropy() + 0.3 * GateConcentration() if on else CrossEntropy(),
            "tuned": CrossEntropy(),
        }.items():
            tuned = copy.deepcopy(model)
            _teach(tuned, (0,), loss, seed)
            note(f"accuracy_{name}", accuracy(tuned, 0))
            note(f"experts_in_use_{name}", _gates(tuned, 0)[0])
            if name == "concentrated":
                left, error = _pruned(tuned)
                note("experts_left", left)
                note("largest_error_pruned", error)
        note("old_experts_bitwise_the_same", _extended(model, seed))
    table = {"unadapted_accuracy": round(accuracy(network(), 0, 1), 1), **rows}
    informed = zip(rows["information_balanced"], rows["information_cross_entropy_alone"], strict=True)
    concentrated = zip(rows["experts_in_use_concentrated"], rows["experts_in_use_tuned"], strict=True)
    return Finding(
        table,
        "over two domains the balance loss makes gates tell 1.3 times as many nats about the rows as cross-entropy alone, in "
        "each seed; tuning on one with the concentration loss uses at most 0.8 of the experts (exp of the entropy) that tuning "
        "without does; experts that no row is given to are pruned, and the answers are the same to 1e-5 of the largest; an expert "
        "added for a third domain learns while the old ones stay the same bits",
        all(a >= 1.3 * b for a, b in informed)
        and all(a <= 0.8 * b for a, b in concentrated)
        and max(rows["experts_left"]) < EXPERTS
        and max(rows["largest_error_pruned"]) < 1e-5
        and all(rows["old_experts_bitwise_the_same"]),
        "that added experts forget less than tuning all at the same accuracy on the new domain is not seen here: the old experts "
        "stay, and the router's new rows take their tokens away",
    )


def _pretrained(seed: int, loss: Loss) -> nn.Module:
    """The digits network with a router over eight fresh experts, taught two domains."""
    model = network()
    settings: Any = {"top": 2}
    experts: list[Any] = [{LoRA(rank=2): INNER} for _ in range(EXPERTS)]
    compose(model, Route(*experts, **settings), name="routed", seed=seed)
    _teach(model, (0, 1), loss, seed, epochs=8)
    return model


def _teach(model: nn.Module, domains: tuple[int, ...], loss: Loss, seed: int, epochs: int = 6) -> None:
    data = Batches(*mixed(domains, "train"), 128, seed=seed)
    fit(model, data, loss, finetune(epochs=epochs), Gradient(lr=3e-3), seed=seed, check=False, progress=False)


@torch.no_grad()
def _gates(model: nn.Module, *domains: int) -> tuple[float, float]:
    """How many experts are in use, as exp of the entropy of their mean shares, and what gates tell about rows in nats."""
    with tapped(model, ["gates"]) as taps:
        model(mixed(domains, "test")[0])
        gates = list(taps.take().values())

    def entropy(shares: Tensor) -> Tensor:
        return torch.special.entr(shares).sum(-1)

    marginal = [entropy(each.mean(0)) for each in gates]
    told = [float(own - entropy(each).mean()) for own, each in zip(marginal, gates, strict=True)]
    return mean(float(own.exp()) for own in marginal), mean(told)


@torch.no_grad()
def _pruned(model: nn.Module) -> tuple[int, float]:
    """How many experts are left, and the largest error relative to the largest answer."""
    images = domain(0, "test")[0]
    before = model(images)
    made = pruned(adapters(model)["routed"], images)
    left = made.parts[0].method
    assert isinstance(left, Route)
    return len(left.children), float((model(images) - before).abs().max() / before.abs().max())


def _extended(model: nn.Module, seed: int) -> bool:
    """Whether an expert that is added learns, and nothing of the others changes."""
    made = extended(adapters(model)["routed"], LoRA(rank=2))
    trained = {name for name, _ in made.named_parameters()}
    before = {name: tensor.detach().clone() for name, tensor in made.tensors().items()}
    _teach(model, (2,), CrossEntropy(), seed, epochs=1)
    moved = {name for name, tensor in made.tensors().items() if not torch.equal(tensor, before[name])}
    child = {name: name.rpartition("/")[2].partition(".")[0] for name in moved}  # "8" of 0/2.weight/8.down
    return (
        moved <= trained and set(child.values()) <= {str(EXPERTS), "router", "prior"} and str(EXPERTS) in child.values()
    )
