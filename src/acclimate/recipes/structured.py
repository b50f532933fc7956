"""Updates of a form: reflections, Kronecker products, blocks, and their products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from acclimate.bench.first_step import unchanged
from acclimate.bench.planted import drawn, layer, left_over
from acclimate.bench.relearn import INNER, Relearned, network, rearranged, relearned
from acclimate.engine import Method, attach
from acclimate.methods import HRA, Bone, ETHERPlus, Kronecker, LoRA, Monarch
from acclimate.methods.monarch import dense, nearest
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared, parameters, unadapted
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["bone", "diffusekrona", "ether", "hra", "kadaptation", "monarch"]

ATTENTION: At = ("q", "v")


@written(
    papers=["Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection Adaptation"],
    needs=["train"],
)
def hra(classes: int | None = None, rank: int = 8, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """A chain of Householder reflections (Yuan et al., 2024)."""
    return supervised({HRA(rank=rank): at}, classes, epochs, Gradient())


@hra.claim
def _turned_and_no_more(seeds: Sequence[int], on: bool) -> Finding:
    runs, table = compared(
        {"lora": {"method": LoRA(rank=4)}, "hra": {"method": HRA(rank=8) if on else LoRA(rank=4)}}, seeds
    )
    moved = [_singular_values_moved(run) for run in runs["hra"]]
    ranks = [_update_rank(run) for run in runs["hra"]]
    return Finding(
        {**table, "largest_change_of_a_singular_value": [f"{v:.1e}" for v in moved], "rank_of_the_update": ranks},
        "with as many parameters at most 0.8 of LoRA's nats in each seed; singular values kept to 1e-4 of the largest; the "
        "update's rank at most the number of reflections",
        below(runs["hra"], runs["lora"], 0.8) and max(moved) < 1e-4 and max(ranks) <= 8,
    )


@torch.no_grad()
def _weights(run: Relearned) -> list[tuple[Tensor, Tensor]]:
    """Each layer's weight before and after, in float64."""
    base = network()
    found = [(base.get_parameter(key), module) for key, module in run.adapter.modules()]
    return [(W.double(), module.weight(W).double()) for W, module in found]  # type: ignore[operator]


def _singular_values_moved(run: Relearned) -> float:
    values = [(torch.linalg.svdvals(a), torch.linalg.svdvals(b)) for a, b in _weights(run)]
    return max(float((a - b).abs().max() / a.max()) for a, b in values)


def _update_rank(run: Relearned) -> int:
    return max(int(torch.linalg.matrix_rank(b - a, rtol=1e-4)) for a, b in _weights(run))


@written(papers=["ETHER: Efficient Finetuning of Large-Scale Models with Hyperplane Reflections"], needs=["train"])
def ether(classes: int | None = None, blocks: int = 1, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """ETHER+: rank-one projections on both sides, bounded whatever is learned (Bini et al., 2024)."""
    return supervised({ETHERPlus(blocks=blocks): at}, classes, epochs, Gradient(lr=1e-2))


@ether.claim
def _learns_at_any_rate(seeds: Sequence[int], on: bool) -> Finding:
    rates = (1e-3, 1e-2, 1e-1, 1.0)
    ways: dict[str, Method] = {"lora": LoRA(rank=2), "ether_plus": ETHERPlus() if on else LoRA(rank=2)}
    last: dict[str, list[float]] = {}
    guessing = math.log(10)
    table: dict[str, object] = {"unadapted": round(unadapted()["nats"], 3), "guessing": round(guessing, 3)}
    for name, method in ways.items():
        runs = [[relearned(method, seed, lr=rate, epochs=10) for rate in rates] for seed in seeds]
        table[f"{name}_at_rates_of_{'_'.join(f'{rate:g}' for rate in rates)}"] = [
            [round(run.asked, 2) for run in row] for row in runs
        ]
        table[f"{name}_parameters"] = parameters(runs[0][0])
        last[name] = [row[-1].asked for row in runs]
        if name == "ether_plus":
            table["largest_distance_from_the_identity"] = max(_distance(run) for row in runs for run in row)
    return Finding(
        table,
        "at a rate of 1, a thousand times the default, still 0.2 nats below guessing in each seed, where LoRA of as many "
        "parameters guesses; on either side at most 2 from the identity at every rate",
        all(v < guessing - 0.2 for v in last["ether_plus"])
        and all(v > guessing - 0.01 for v in last["lora"])
        and float(str(table["largest_distance_from_the_identity"])) <= 2,
        "LoRA's loss stays finite here, since gradients are clipped: at a rate of 1 it ends at guessing instead",
    )


@torch.no_grad()
def _distance(run: Relearned) -> float:
    """The largest Frobenius norm of ``u u^T - v v^T`` over layers and sides; infinite for what is none."""
    found = []
    for _, module in run.adapter.modules():
        if not isinstance(module, ETHERPlus.Module):
            return math.inf
        for one, back in ((module.out, module.out_back), (module.into, module.into_back)):
            u, v = (torch.nn.functional.normalize(each, dim=-1) for each in (one, back))
            found.append(float((u.mT @ u - v.mT @ v).norm()))
    return max(found)


def _planted(
    method: Method, other: Method, plant: Callable[[int], Tensor], seeds: Sequence[int]
) -> tuple[bool, dict[str, object]]:
    """Whether a method leaves at most a quarter of what another leaves of a planted change, with no more parameters."""
    rows: dict[str, list[float]] = {"method": [], "lora": []}
    counts: dict[str, int] = {}
    for seed in seeds:
        for name, each in {"method": method, "lora": other}.items():
            missing, adapter = left_over(each, plant(seed), seed)
            rows[name].append(missing)
            counts[f"{name}_parameters"] = sum(p.numel() for p in adapter.parameters())
    table = {"unadapted": 1.0, **{name: [round(v, 4) for v in found] for name, found in rows.items()}, **counts}
    nearer = all(a <= 0.25 * b for a, b in zip(rows["method"], rows["lora"], strict=True))
    return nearer and counts["method_parameters"] <= counts["lora_parameters"], table


@written(
    papers=["DiffuseKronA: A Parameter Efficient Fine-tuning Method for Personalized Diffusion Model"],
    needs=["train"],
)
def diffusekrona(classes: int | None = None, factor: int = 8, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """One Kronecker product (Marjit et al., 2024)."""
    return supervised({Kronecker(factor=factor): at}, classes, epochs, Gradient())


@diffusekrona.claim
def _a_product_of_full_rank(seeds: Sequence[int], on: bool) -> Finding:
    weight = layer().weight.detach()

    def plant(seed: int) -> Tensor:
        return weight + 0.02 * torch.kron(drawn(seed, 8, 8), drawn(seed + 100, 16, 16))

    made = Kronecker(factor=8) if on else LoRA(rank=2)
    nearer, table = _planted(made, LoRA(rank=2), plant, seeds)
    same = all(unchanged(network(), rearranged("test")[0], {made: INNER}, seed) for seed in seeds)
    return Finding(
        {**table, "the_base_untaught_bitwise": same},
        "of a planted Kronecker product at most a quarter of what LoRA of rank 2 leaves in each seed, with fewer parameters; "
        "untaught the base to the bit",
        nearer and same,
    )


@written(papers=["Parameter-efficient Model Adaptation for Vision Transformers"], needs=["train"])
def kadaptation(
    classes: int | None = None, factor: int = 8, terms: int = 4, at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """A sum of Kronecker products with a factor in common and one of rank one (He et al., 2022)."""
    made = Kronecker(factor=factor, terms=terms, rank=1, tied=True)
    return supervised({made: at}, classes, epochs, Gradient(lr=1e-2))


@kadaptation.claim
def _cheaper_and_better_than_rank_one(seeds: Sequence[int], on: bool) -> Finding:
    made = Kronecker(factor=8, terms=4, rank=1, tied=True) if on else LoRA(rank=1)
    runs, table = compared(
        {"lora_rank_1": {"method": LoRA(rank=1), "lr": 1e-2}, "kadaptation": {"method": made, "lr": 1e-2}}, seeds
    )
    counted = parameters(runs["kadaptation"][0])
    explicit = max(_explicit(seed) for seed in seeds)
    return Finding(
        {**table, "largest_error_against_an_explicit_kron": explicit},
        "256 parameters in common and 128 for each of three layers, fewer than LoRA of rank 1, and fewer nats than it in each "
        "seed; the update is the explicit sum of products to 1e-6",
        counted == 4 * 64 + 3 * 4 * 32 and below(runs["kadaptation"], runs["lora_rank_1"]) and explicit < 1e-6,
    )


@torch.no_grad()
def _explicit(seed: int) -> float:
    adapter = attach(network(), Kronecker(factor=8, terms=4, rank=1, tied=True), at=INNER, seed=seed)
    worst = 0.0
    for number, (_, module) in enumerate(adapter.modules()):
        assert isinstance(module, Kronecker.Module)
        module.right.copy_(drawn(seed + number, *module.right.shape))
        pairs = zip(module.outer, module.left @ module.right, strict=True)
        worst = max(worst, float((module.delta() - sum(torch.kron(a, b) for a, b in pairs)).abs().max()))
    return worst


@written(
    papers=["Bone: Block Affine Transformation as Parameter Efficient Fine-tuning Methods for Large Language Models"],
    needs=["train"],
)
def bone(classes: int | None = None, block: int = 8, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """Blocks of the weight turned and moved by small matrices (Kang, 2024)."""
    return supervised({Bone(block=block): at}, classes, epochs, Gradient())


@bone.claim
def _guided_by_the_weight(seeds: Sequence[int], on: bool) -> Finding:
    runs, table = compared(
        {"lora": {"method": LoRA(rank=2)}, "bone": {"method": Bone(block=4) if on else LoRA(rank=2)}}, seeds
    )
    return Finding(
        table,
        "with as many parameters (block times width) at most 0.85 of LoRA's nats in each seed",
        below(runs["bone"], runs["lora"], 0.85) and parameters(runs["bone"][0]) == 3 * 4 * 128,
    )


@written(papers=["Monarch: Expressive Structured Matrices for Efficient and Accurate Training"], needs=["train"])
def monarch(classes: int | None = None, blocks: int = 4, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """An update of two block-diagonal matrices and a transposition (Dao et al., 2022)."""
    return supervised({Monarch(blocks=blocks): at}, classes, epochs, Gradient())


@monarch.claim
def _found_exactly_and_by_training(seeds: Sequence[int], on: bool) -> Finding:
    weight = layer().weight.detach()

    def change(seed: int) -> Tensor:
        return dense(drawn(seed, 4, 4, 32, 1), drawn(seed + 100, 4, 4, 1, 32)) / 30

    errors = []
    for seed in seeds:
        u, s, v = torch.linalg.svd(change(seed), full_matrices=False)
        found = dense(*nearest(change(seed), 4)) if on else (u[:, :4] * s[:4]) @ v[:4]
        errors.append(float((found - change(seed)).norm() / change(seed).norm()))
    runs, table = compared({"monarch": {"method": Monarch(blocks=8)}}, seeds)
    return Finding(
        {**table, "error_of_the_nearest": [f"{error:.1e}" for error in errors], "of_what": list(weight.shape)},
        "the nearest Monarch matrix to one is itself to 1e-5, where the nearest matrix of rank 4 with as many numbers is not; "
        "trained, fewer nats than the unadapted network in each seed",
        max(errors) < 1e-5 and below(runs["monarch"], runs["monarch"], 1.01),
    )
