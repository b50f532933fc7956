"""What attention sees, changed beside the model's own map: two maps, edges weighed anew, prompts beside the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from acclimate.bench import docstring_task as task
from acclimate.bench.first_step import unchanged
from acclimate.bench.lookup import Found, looked_up
from acclimate.bench.spectrograms import Heard, Listener, heard, listener, tones
from acclimate.engine import Method, attach
from acclimate.methods import (
    Bottleneck,
    DiffusedPrompt,
    DynamicPrompt,
    LoRA,
    OpAmp,
    PLaplacian,
    Prefix,
)
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["apt", "dvpt", "opamp", "p_adapter"]


def _mean(runs: Sequence[Heard] | Sequence[Found]) -> float:
    return mean(run.accuracy for run in runs)


def _taught(ways: dict[str, dict[Method, At]], seeds: Sequence[int], **how: Any) -> tuple[dict[str, list[Heard]], Any]:
    """Each way on spectrograms beside a new head alone, and a table."""
    runs = {
        name: [heard(way, "shape", seed, **how) for seed in seeds] for name, way in {"head_only": {}, **ways}.items()
    }
    table: dict[str, Any] = {}
    for name, found in runs.items():
        table[name] = [round(run.accuracy, 1) for run in found]
        table[f"{name}_parameters"] = found[0].parameters
    return runs, table


def _unchanged(method: Method, at: At, seeds: Sequence[int]) -> bool:
    return all(unchanged(task.encoder(), task.longest(2, 12), {method: at}, seed) for seed in seeds)


@written(papers=["Efficient OpAmp Adaptation for Zoom Attention to Golden Contexts"], needs=["train"])
def opamp(
    classes: int | None = None,
    width: int = 16,
    gain: float = 10.0,
    at: At = "attention",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Attention by the amplified difference of two maps and their mean (Wu et al., 2025)."""
    return supervised({OpAmp(width=width, gain=gain): at}, classes, epochs, Gradient(lr=lr))


@opamp.claim
def _looks_at_what_answers(seeds: Sequence[int], on: bool) -> Finding:
    method = OpAmp(width=2) if on else LoRA(rank=2)
    same = _unchanged(OpAmp(width=4) if on else Prefix(length=4), "attention", seeds)
    ways: dict[str, dict[Method, At]] = {
        "unadapted": {}, "lora": {LoRA(rank=6): ("query", "key")}, "opamp": {method: "all" if on else ("query", "key")}
    }  # fmt: skip
    runs = {name: [looked_up(way, seed) for seed in seeds] for name, way in ways.items()}
    table: dict[str, Any] = {"the_base_untaught_bitwise": same}
    for name, found in runs.items():
        table[f"{name}_accuracy"] = [round(run.accuracy, 1) for run in found]
        table[f"{name}_attention_on_the_golden_key"] = [round(run.golden, 3) for run in found]
        table[f"{name}_parameters"] = found[0].parameters
    more = all(a.golden > b.golden for a, b in zip(runs["opamp"], runs["unadapted"], strict=True))
    return Finding(
        table,
        "untaught the base to the bit; among distractors, the share of attention on the key that answers rises above the "
        "unadapted network's in each seed and on average above that with LoRA of as many parameters",
        same and more and mean(r.golden for r in runs["opamp"]) > mean(r.golden for r in runs["lora"]),
        "accuracy rises above the unadapted network's as well, and not above that with LoRA",
    )


@written(papers=["p-Laplacian Adaptation for Generative Pre-trained Vision-Language Models"], needs=["train"])
def p_adapter(
    classes: int | None = None,
    width: int = 16,
    p: float = 1.5,
    at: At = "attention",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """A bottleneck on what a map gathers whose edges count by how far apart their ends are (Wu et al., 2024)."""
    return supervised({PLaplacian(width=width, p=p): at}, classes, epochs, Gradient(lr=lr))


@p_adapter.claim
def _an_adapter_on_a_graph(seeds: Sequence[int], on: bool) -> Finding:
    plain = PLaplacian(width=8, p=2 if on else 1.5)
    same = _unchanged(PLaplacian(width=8), "attention", seeds)
    apart = max(_from_plain(plain, seed) for seed in seeds)
    rows, checked = zip(*(_weights(seed) for seed in seeds), strict=True)
    ways: dict[str, dict[Method, At]] = {f"p_{p:g}": {PLaplacian(width=16, p=p): "attention"} for p in (1.5, 2.0)}
    runs, table = _taught(ways, seeds)
    return Finding(
        {
            **table,
            "the_base_untaught_bitwise": same,
            "p_2_from_a_bottleneck_behind_attention": float(f"{apart:.1e}"),
            "largest_error_of_a_row_of_the_map": float(f"{max(rows):.1e}"),
            "gradients_as_by_differences": checked,
        },
        "untaught the base to the bit; at p = 2 a bottleneck behind attention to 1e-10, in float64; below, rows of the map still "
        "add up to one to 1e-12 and gradients are those by differences; p = 1.5 on average 5 points above a head alone",
        same
        and apart < 1e-10
        and max(rows) < 1e-12
        and all(checked)
        and _mean(runs["p_1.5"]) >= _mean(runs["head_only"]) + 5,
        "that p below two serves better than p = 2 was looked for and not seen",
    )


@torch.no_grad()
def _from_plain(method: PLaplacian, seed: int) -> float:
    """How far it is from a bottleneck of the same parameters on the attention's output, over the largest answer."""
    x = tones("shape", 4, seed=seed)[0].double()
    answers = []
    for each in (method, Bottleneck(width=method.width)):
        model = listener()
        # The listener's attention ends in its output projection, so the plain one reads what goes into that.
        adapter = attach(model, each, at="attention" if each is method else "*attention.heard", data=x.float())
        model.double()
        drawn = torch.Generator().manual_seed(seed)
        for parameter in adapter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=drawn))
        answers.append(model(x))
    return float((answers[0] - answers[1]).abs().max() / answers[1].abs().max())


def _weights(seed: int) -> tuple[float, bool]:
    """The largest error of a weighed map's rows, and whether gradients through the weighing are those by differences."""
    model = listener().double()
    module = next(module for _, module in attach(model, PLaplacian(width=4, p=1.5), at="attention").modules())
    assert isinstance(module, PLaplacian.Module)
    drawn = torch.Generator().manual_seed(seed)
    A, q, v = (torch.randn(1, 2, 3, n, generator=drawn, dtype=torch.float64) for n in (3, 4, 4))

    def weighed(A: Tensor, q: Tensor, v: Tensor) -> Tensor:
        return module.weighed(A.softmax(-1), q, v)

    error = float((weighed(A, q, v).sum(-1) - 1).abs().max())
    inputs = tuple(t.requires_grad_() for t in (A, q, v))
    return error, bool(torch.autograd.gradcheck(weighed, inputs, raise_exception=False))


@written(papers=["Approximated Prompt Tuning for Vision-Language Pre-trained Models"], needs=["train"])
def apt(
    classes: int | None = None,
    length: int = 40,
    rank: int = 4,
    at: At = "attention",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Prompts beside attention, under a softmax of their own and of low rank (Wu et al., 2023)."""
    return supervised({DiffusedPrompt(length=length, rank=rank): at}, classes, epochs, Gradient(lr=lr))


@apt.claim
def _prompts_for_few_operations(seeds: Sequence[int], on: bool) -> Finding:
    length, tokens = 40, 24
    method = DiffusedPrompt(length=length, rank=4) if on else Prefix(length=length)
    same = _unchanged(method, "attention", seeds)
    ways: dict[str, dict[Method, At]] = {
        "apt": {DiffusedPrompt(length=20, rank=4) if on else Prefix(length=20): "attention"},
        "prefix": {Prefix(length=20): "attention"},
    }
    runs, table = _taught(ways, seeds)
    real = _flops(None, tokens + length) / _flops(None, tokens)
    return Finding(
        {
            **table,
            "the_base_untaught_bitwise": same,
            "flops_over_the_base": {"prompts_in_the_sequence": round(real, 3), "apt": round(_flops(method, tokens), 3)},
        },
        "untaught the base to the bit; at most a tenth of the FLOPs that 40 prompts in MiniLM's sequence add; on average 5 points "
        "above a head alone and at most 3 below a prefix",
        same
        and _flops(method, tokens) - 1 <= (real - 1) / 10
        and _mean(runs["apt"]) >= max(_mean(runs["head_only"]) + 5, _mean(runs["prefix"]) - 3),
    )


def _flops(method: Method | None, tokens: int) -> float:
    """FLOPs of MiniLM on texts of so many tokens: with the method over without it, or its own where there is none."""
    adapter = attach(task.encoder(), method or LoRA(rank=1), at="attention")
    try:
        cost = adapter.cost(task.longest(2, tokens))
        return cost.flops / cost.base_flops if method else float(cost.base_flops)
    finally:
        adapter.detach()


@written(
    papers=["DVPT: Dynamic Visual Prompt Tuning of Large Pre-trained Models for Medical Image Analysis"],
    needs=["train"],
)
def dvpt(
    classes: int | None = None,
    length: int = 8,
    width: int = 16,
    at: At = "block",
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """Prompts that ask each sample, in one small module for all layers (He et al., 2023)."""
    return supervised({DynamicPrompt(length=length, width=width): at}, classes, epochs, Gradient(lr=lr))


@dvpt.claim
def _other_prompts_for_other_samples(seeds: Sequence[int], on: bool) -> Finding:
    method: Method = DynamicPrompt(length=8, width=16) if on else Bottleneck(width=16)
    same = _unchanged(method, "block", seeds)
    counted = []
    for depth in (2, 4):
        adapter = attach(Listener(depth=depth), method, at="block")
        counted.append(sum(p.numel() for p in adapter.parameters()))
    ways: dict[str, dict[Method, At]] = {"dvpt": {method: "block"}, "static_prompts": {Prefix(length=8): "attention"}}
    runs, table = _taught(ways, seeds, rows=100, epochs=30)
    apart = _asked_apart(runs["dvpt"][0]) if on else 0.0
    return Finding(
        {
            **table,
            "the_base_untaught_bitwise": same,
            "parameters_at_two_and_four_blocks": counted,
            "prompts_of_two_samples_apart": round(apart, 3),
        },
        "untaught the base to the bit; as many parameters for four blocks as for two; what is asked differs between samples by a "
        "tenth of its size or more; with 100 labels on average above a head alone",
        same and counted[0] == counted[1] and apart > 0.1 and _mean(runs["dvpt"]) > _mean(runs["head_only"]),
        "that it beats static prompts with few labels was looked for and not seen: it stays below keys and values in every layer",
    )


@torch.no_grad()
def _asked_apart(run: Heard) -> float:
    """How far what the prompts get from one sample is from what they get from another, over its size."""
    module = next(m for _, m in run.adapter.modules() if isinstance(m, DynamicPrompt.Module))
    model = listener()
    one, two = module.asked(model.embed(tones("shape", 2, seed=5)[0]) + model.place)
    return float((one - two).norm() / one.norm())
