"""Skills that several tasks have in common, and that a new task mixes in its own way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean
from typing import Any

import torch

from acclimate.bench.planted import drawn
from acclimate.bench.skill_tasks import KNOWN, NEW, WIDTH, Family, family
from acclimate.compose.inventory import averaged, hardened, new_tasks
from acclimate.engine import Adapter, attach
from acclimate.methods import LoRA, Poly
from acclimate.methods.given import Given, given
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["master_asr", "mhr"]

ATTENTION: At = ("q", "v")
SKILLS = 8
SHARED = Gradient(lr=2e-2)
ROUTED = Gradient(lr=2e-2, rates={"logits": 5.0})


@written(papers=["Multi-Head Adapter Routing for Cross-Task Generalization"], needs=["train"])
def mhr(
    classes: int | None = None, rank: int = 2, skills: int = 4, heads: int = 4, at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """Low-rank skills that tasks mix block by block (Caccia et al., 2023; with one head Ponti et al., 2023)."""
    return supervised({Poly(rank=rank, skills=skills, heads=heads): at}, classes, epochs, Gradient())


@mhr.claim
def _new_tasks_by_routing_alone(seeds: Sequence[int], on: bool) -> Finding:
    asked: dict[str, list[float]] = {"mhr_z": [], "mhr_mu": [], "shared": []}
    known: dict[str, list[float]] = {"mhr": [], "shared": []}
    counts: dict[str, int] = {}
    for seed in seeds:
        tasks = family(seed)
        model, adapter = tasks.learned(LoRA(rank=2 * SKILLS), SHARED)
        known["shared"].append(_known(tasks, model))
        asked["shared"].append(_few(tasks, model, adapter, _itself, SHARED, counts, "shared"))
        if on:
            model, adapter = tasks.learned(Poly(rank=2, skills=SKILLS, heads=2, tasks=len(KNOWN)), ROUTED)
        known["mhr"].append(_known(tasks, model))
        rules = (ROUTED, SHARED) if on else (SHARED, SHARED)
        makers = (new_tasks, averaged) if on else (_itself, _itself)
        for name, make, rule in zip(("mhr_z", "mhr_mu"), makers, rules, strict=True):
            asked[name].append(_few(tasks, model, adapter, make, rule, counts, name))
    uniform = max(_uniform(seed) for seed in seeds)
    heads = max(_one_head(seed) for seed in seeds)
    table: dict[str, Any] = {f"known_{name}": [round(v, 3) for v in found] for name, found in known.items()}
    table |= {f"new_{name}": [round(v, 3) for v in found] for name, found in asked.items()}
    table |= {f"{name}_trains": count for name, count in counts.items()}
    return Finding(
        {"unadapted": 1.0, **table, "error_of_mu_against_uniform": uniform, "error_of_one_head": heads},
        "thirteen tasks of common parts, three new ones with four rows each: routing alone, skills times heads numbers, leaves "
        "at most 0.8 of the error that one shared adapter of as many factors, tuned whole, leaves in each seed; uniform routing "
        "is the averaged adapter, and equal heads are one head's formula written out, to 1e-5",
        all(a <= 0.8 * b for a, b in zip(asked["mhr_z"], asked["shared"], strict=True))
        and counts["mhr_z"] == SKILLS * 2
        and max(uniform, heads) < 1e-5,
    )


def _itself(adapter: Adapter) -> Adapter:
    return adapter


def _known(tasks: Family, model: Given) -> float:
    return mean(tasks.missing(model, task, number) for number, task in enumerate(KNOWN))


def _few(
    tasks: Family, model: Given, adapter: Adapter, make: Callable[[Adapter], Adapter], rule: Gradient,
    counts: dict[str, int], name: str,
) -> float:  # fmt: skip
    """What is missing of the new tasks, each learned by itself from where the known ones ended."""
    found, start = [], {key: tensor.detach().clone() for key, tensor in adapter.tensors().items()}
    for task in NEW:
        made = make(adapter)
        counts[name] = sum(p.numel() for p in made.parameters())
        tasks.few(model, task, rule)
        found.append(tasks.missing(model, task))
        if made.name != adapter.name:
            made.detach()
        adapter.enable()
        with torch.no_grad():
            for key, tensor in adapter.tensors().items():
                tensor.copy_(start[key])
    return mean(found)


def _drawn_inventory(seed: int, heads: int) -> tuple[Given, Adapter, dict[str, torch.Tensor]]:
    model = family(seed).model()
    method = Poly(rank=2, skills=SKILLS, heads=heads)
    adapter = attach(model, method, at="model.0.weight", name="pool", seed=seed)
    tensors = {key.rpartition("/")[2]: tensor for key, tensor in adapter.tensors().items()}
    with torch.no_grad():
        tensors["up"].copy_(drawn(seed, *tensors["up"].shape))
    return model, adapter, tensors


@torch.no_grad()
def _uniform(seed: int) -> float:
    """The largest difference between routing as it begins and the averaged adapter, relative to the largest output."""
    model, adapter, _ = _drawn_inventory(seed, heads=4)
    x = drawn(seed + 1, 16, WIDTH)
    one = new_tasks(adapter)
    y = model(x, 0)
    one.disable()
    averaged(adapter)
    return float((model(x, 0) - y).abs().max() / y.abs().max())


@torch.no_grad()
def _one_head(seed: int) -> float:
    """Heads that are alike against Poly's formula, (sum_j w_j B_j) (sum_j w_j A_j)."""
    model, _, tensors = _drawn_inventory(seed, heads=4)
    x, logits = drawn(seed + 1, 16, WIDTH), drawn(seed + 2, SKILLS)
    tensors["logits"].copy_(logits[None, :, None].expand_as(tensors["logits"]))
    shares = logits.sigmoid() / logits.sigmoid().sum()
    down = sum((w * each for w, each in zip(shares, tensors["down"].chunk(SKILLS, 0), strict=True)), torch.zeros(()))
    up = sum((w * each for w, each in zip(shares, tensors["up"].chunk(SKILLS, 1), strict=True)), torch.zeros(()))
    expected = x @ (family(seed).base + up @ down).mT
    return float((model(x, 0) - expected).abs().max() / expected.abs().max())


@written(
    papers=["Master-ASR: Achieving Multilingual Scalability and Low-Resource Adaptation in ASR with Modular Learning"],
    needs=["train"],
)
def master_asr(
    classes: int | None = None, rank: int = 2, skills: int = 4, at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """Low-rank modules of which each task switches some on, by scores that are learned (Yu et al., 2023)."""
    return supervised({Poly(rank=rank, skills=skills, hard=True): at}, classes, epochs, Gradient())


@master_asr.claim
def _related_tasks_choose_the_same(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[float]] = {"new_by_scores": [], "new_from_scratch": [], "known": []}
    overlaps: dict[str, list[float]] = {"overlap_of_related": [], "overlap_of_unrelated": []}
    counts: dict[str, int] = {}
    binary = True
    for seed in seeds:
        tasks = family(seed)
        model, adapter = tasks.learned(Poly(rank=2, skills=SKILLS if on else 1, tasks=len(KNOWN)), ROUTED)
        adapter = hardened(adapter)
        tasks.more(model, SHARED)
        rows["known"].append(_known(tasks, model))
        related, unrelated, whole = _overlaps(adapter)
        overlaps["overlap_of_related"].append(related)
        overlaps["overlap_of_unrelated"].append(unrelated)
        binary = binary and whole
        rows["new_by_scores"].append(_few(tasks, model, adapter, new_tasks, ROUTED, counts, "scores"))
        model = tasks.model()
        scratch = attach(model, LoRA(rank=2), at="model.0.weight", name="scratch", seed=seed)
        rows["new_from_scratch"].append(_few(tasks, model, scratch, _itself, SHARED, counts, "scratch"))
    return Finding(
        {
            "unadapted": 1.0,
            **{name: [round(v, 3) for v in found] for name, found in {**rows, **overlaps}.items()},
            **{f"{name}_train": count for name, count in counts.items()},
        },
        "each task has a set of modules, on or off; tasks with a part in common share at least 1.5 times as large a part of "
        "their modules as tasks with none, in each seed; a new task of four rows learned by its scores alone is missing at most "
        "0.8 of what an adapter of its own of the same rank is",
        binary
        and all(a >= 1.5 * b for a, b in zip(*overlaps.values(), strict=True))
        and all(a <= 0.8 * b for a, b in zip(rows["new_by_scores"], rows["new_from_scratch"], strict=True)),
    )


@torch.no_grad()
def _overlaps(adapter: Adapter) -> tuple[float, float, bool]:
    """Modules in common over modules in either, of tasks that have a planted skill in common and of those that have not;
    and whether every share is zero or the same."""
    module = next(module for _, module in adapter.modules())
    assert isinstance(module, Poly.Module)
    on = (module.get_parameter("logits")[..., 0] >= 0).float()  # (tasks, skills)
    both = on @ on.mT
    shared = both / (on.sum(1)[:, None] + on.sum(1) - both).clamp_min(1)
    related = torch.tensor([[bool(set(a) & set(b)) for b in KNOWN] for a in KNOWN])
    other = ~torch.eye(len(KNOWN), dtype=torch.bool)
    whole = True
    for task, mask in enumerate(on):
        with given(task=task):
            whole = whole and torch.allclose(module.shares()[:, 0], mask / mask.sum().clamp_min(1))
    return float(shared[related & other].mean()), float(shared[~related].mean()), whole
