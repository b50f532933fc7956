"""Updates that are zero at most places."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.experts import given
from acclimate.bench.languages import MIDDLE, precision, ranker, speller, spelling
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import CrossEntropy, Loss, MeanSquares
from acclimate.methods import Full, Sparse
from acclimate.methods.sparse import lottery
from acclimate.recipes.recipe import Finding, Together, written
from acclimate.rules import Gradient, Rule
from acclimate.sites import At

__all__ = ["Ticket", "lt_sft"]


@dataclass(frozen=True)
class Ticket:
    """Full fine-tuning that only says where: sparse values at the places it moved most. ``drawn`` leaves them at random."""

    density: float
    at: At
    loss: Loss
    epochs: int
    rule: Rule
    beside: Mapping[Method, At] = field(default_factory=dict)
    drawn: bool = False

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "ticket", seed: int = 0, data: Any = None
    ) -> Adapter:
        methods: dict[Method, At] = {Sparse(density=self.density): self.at, **self.beside}
        if self.drawn or data is None:
            return attach(model, methods, name=name, seed=seed)
        passing = [attach(model, Full(), self.at, name=f"{name}_full", seed=seed)]
        if self.beside:
            passing.append(attach(model, dict(self.beside), name=f"{name}_beside", seed=seed))
        fit(model, data, self.loss, finetune(epochs=self.epochs), self.rule, seed=seed, check=False, progress=False)
        made = attach(model, methods, name=name, seed=seed)
        lottery(made, passing[0])
        for each in passing:
            each.detach()
        return made


@written(papers=["Composable Sparse Fine-Tuning for Cross-Lingual Transfer"], needs=["train"])
def lt_sft(
    density: float = 0.05,
    at: At = ("attention", "mlp"),
    lr: float = 1e-4,
    epochs: int = 2,
) -> Together:
    """Tune all, keep the places that moved most, and tune these again from the start (Ansell et al., 2022)."""
    return _again(Ticket(density, at, CrossEntropy(), epochs, Gradient(lr=lr)))


def _again(ticket: Ticket) -> Together:
    return Together(ticket, ticket.loss, finetune(epochs=ticket.epochs), ticket.rule)


def _taught(ticket: Ticket, model: nn.Module, data: Batches, seed: int) -> Adapter:
    adapter, made = ticket(model, (), "tuned", seed, data), _again(ticket)
    fit(model, data, ticket.loss, made.loop, made.rule, seed=seed, check=False, progress=False)
    return adapter


LANGUAGE = "upper"
K = 1229
"""15 percent of the first layer's entries."""


@lt_sft.claim
def _added_task_and_language(seeds: Sequence[int], on: bool) -> Finding:
    table: dict[str, list[float]] = {}
    differ, whole = list[int](), []
    for seed in seeds:
        first, errors = _language(seed, drawn=False), _language(seed, drawn=True)
        chosen = first if on else errors
        differ.append(int(chosen[1].count_nonzero()))
        model = ranker(seed=seed)
        base = {name: value.clone() for name, value in model.state_dict().items()}
        ticket = Ticket(0.15, MIDDLE, CrossEntropy(), 15, Gradient(lr=3e-3), {Full(): "head.weight"})
        task = _taught(ticket, model, Batches(*given("clean", "train"), 128, seed=seed), seed)
        scores = {"unadapted": precision(model, LANGUAGE), "task_alone": precision(model, LANGUAGE, task)}
        tongue = _put(model, chosen, seed)
        scores["task_and_language"] = precision(model, LANGUAGE, task, tongue)
        scores |= {"spelling_error_chosen_places": chosen[2], "spelling_error_drawn_places": errors[2]}
        whole.append(_one_sum(model, base, tongue, task))
        for name, score in scores.items():
            table.setdefault(name, []).append(score)
    return Finding(
        {
            **{name: [round(value, 4 if "error" in name else 1) for value in values] for name, values in table.items()},
            "places": K,
            "entries_that_differ": differ,
            "added_is_merged_and_taken_away_is_the_base_bitwise": all(whole),
        },
        "no more than K entries of the layer differ, ten fewer at most; "
        "the two updates added are the merged weights, and taken away the base to the bit; "
        "on a language without labels the task's and the language's update rank 5 points above the task's alone, and at the same "
        "K the places found by full tuning spell with less error than places drawn, in each seed",
        all(K - 10 <= count <= K for count in differ)
        and all(whole)
        and all(a >= b + 5 for a, b in zip(table["task_and_language"], table["task_alone"], strict=True))
        and all(
            a < b
            for a, b in zip(table["spelling_error_chosen_places"], table["spelling_error_drawn_places"], strict=True)
        ),
    )


def _language(seed: int, drawn: bool) -> tuple[Tensor, Tensor, float]:
    """Places, values, and the error on spelling, learned from images without labels."""
    model = speller()
    ticket = Ticket(
        0.15, "encoder.0.weight", MeanSquares(), 10, Gradient(lr=5e-3), {Full(): "read.weight"}, drawn=drawn
    )
    adapter = _taught(ticket, model, Batches(*spelling(LANGUAGE), 128, seed=seed), seed)
    module = next(module for _, module in adapter.modules() if isinstance(module, Sparse.Module))
    error = evaluate(model, spelling(LANGUAGE)).error
    assert error is not None
    return module.places.clone(), module.values.detach().clone(), error


@torch.no_grad()
def _put(model: nn.Module, found: tuple[Tensor, Tensor, float], seed: int) -> Adapter:
    adapter = attach(model, Sparse(density=0.15), at="encoder.0.weight", name="language", seed=seed)
    for _, module in adapter.modules():
        assert isinstance(module, Sparse.Module)
        module.places.copy_(found[0])
        module.values.copy_(found[1])
    return adapter


@torch.no_grad()
def _one_sum(model: nn.Module, base: Mapping[str, Tensor], *parts: Adapter) -> bool:
    """Whether both merged answer as both attached, and the base's bits come back."""
    x = given(LANGUAGE, "test")[0]
    before = model(x)
    for part in parts:
        part.merge()
    near = torch.allclose(model(x), before, rtol=1e-5, atol=1e-5)
    for part in reversed(parts):
        part.unmerge()
        part.detach()
    return near and all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
