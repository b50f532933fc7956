"""Changes that each token asks for."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from statistics import mean

import torch
from torch import Tensor, nn

from acclimate.bench import docstring_task as task
from acclimate.bench.first_step import unchanged
from acclimate.data import Batches
from acclimate.engine import Method, attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.loops.taps import tapped
from acclimate.losses import CrossEntropy
from acclimate.methods import AdapterBias, Head
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["adapterbias"]


@written(
    papers=["AdapterBias: Parameter-efficient Token-dependent Representation Shift for Adapters in NLP Tasks"],
    needs=["train"],
)
def adapterbias(classes: int | None = None, at: At = "down", lr: float | None = None, epochs: int = 2) -> Sentence:
    """One direction a layer, added to each token as much as it asks for (Fu et al., 2022)."""
    return supervised({AdapterBias(): at}, classes, epochs, Gradient(lr=lr))


@adapterbias.claim
def _planted_tokens_ask_for_more(seeds: Sequence[int], on: bool) -> Finding:
    layers, width = len(task.encoder().encoder.layer), task.encoder().config.hidden_size
    found = [_planted(seed, trained=on) for seed in seeds]
    same = all(unchanged(task.encoder(), task.longest(4, 12), {AdapterBias(): "down"}, seed) for seed in seeds)
    frozen = [_planted(seed, trained=True, shifts=False)[0] for seed in seeds]
    table = {
        "accuracy_head_alone": [round(value, 1) for value in frozen],
        "accuracy": [round(run[0], 1) for run in found],
        "shift_of_planted_tokens_over_that_of_others": [round(run[1], 2) for run in found],
        "untaught_the_base_bitwise": same,
        "parameters": found[0][2],
        "layers_times_2d_1": layers * (2 * width + 1),
    }
    return Finding(
        table,
        "2d + 1 parameters a layer; untaught the encoder to the bit; taught whether a text holds a planted word, in each seed that "
        "word's shifts are 1.1 times as long as other tokens' or more, summed over layers, and "
        "mean accuracy is above a frozen encoder's",
        found[0][2] == layers * (2 * width + 1)
        and same
        and all(run[1] >= 1.1 for run in found)
        and mean(run[0] for run in found) > mean(frozen),
    )


@functools.cache
def _texts(rows: int = 320, tokens: int = 24) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Texts of one length, half of which have one token changed for the planted one; labels; where it is (rows, tokens)."""
    batch = {name: value.clone() for name, value in task.longest(rows, tokens).items()}
    drawn = torch.Generator().manual_seed(0)
    order = torch.randperm(rows, generator=drawn)
    batch = {name: value[order] for name, value in batch.items()}
    labels = torch.arange(rows) % 2
    where = torch.randint(1, tokens - 1, (rows,), generator=drawn)
    planted = torch.nn.functional.one_hot(where, tokens).bool() & labels.bool()[:, None]
    batch["input_ids"] = torch.where(planted, 29145, batch["input_ids"])
    return batch, labels, planted


@functools.cache
def _planted(seed: int, trained: bool, shifts: bool = True) -> tuple[float, float, int]:
    """Accuracy on held-out texts, the ratio of the shifts' lengths, and their parameters."""
    model, (batch, labels, planted), half = task.encoder(), _texts(), 160
    methods: dict[Method, At] = {AdapterBias(): "down", Head(classes=2): ""} if shifts else {Head(classes=2): ""}
    adapter = attach(model, methods, name="shifts", seed=seed)
    try:
        modules = {key: module for key, module in adapter.modules() if isinstance(module, AdapterBias.Module)}
        learn = Batches({name: value[:half] for name, value in batch.items()}, labels[:half], 16, seed=seed)
        if trained:
            fit(
                model,
                learn,
                CrossEntropy(),
                finetune(epochs=3),
                Gradient(lr=1e-2),
                seed=seed,
                check=False,
                progress=False,
            )
        held = {name: value[half:] for name, value in batch.items()}
        accuracy = evaluate(model, Batches(held, labels[half:], 80)).accuracy
        assert accuracy is not None
        lengths = sum(_lengths(model, key.removesuffix("()"), module, held) for key, module in modules.items())
        ratio = float(lengths[planted[half:]].mean() / lengths[~planted[half:]].mean()) if trained and shifts else 0.0  # type: ignore[index]
        return 100 * accuracy, ratio, sum(p.numel() for m in modules.values() for p in m.parameters())
    finally:
        adapter.detach()


@torch.no_grad()
def _lengths(model: nn.Module, path: str, module: AdapterBias.Module, batch: dict[str, Tensor]) -> Tensor:
    """How far each token is shifted at one layer, (rows, tokens): what is heard is h' = h + a v, and w h' + c = a (1 + w v)."""
    with tapped(model, [path]) as taps:
        model(**batch)
    heard = next(iter(taps.take().values()))
    asked = (heard @ module.ask[0] + module.offset) / (1 + module.ask[0] @ module.shift)
    return asked.abs() * module.shift.norm()
