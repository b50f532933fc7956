"""Low-rank updates made of other factors: shared, several, cut at any rank, random, or the base's own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.bench.planted import drawn, layer, left_over
from acclimate.bench.relearn import INNER, Relearned, network, rearranged
from acclimate.engine import attach
from acclimate.losses import CrossEntropy, Penalty
from acclimate.methods import SORSA, BoRA, DyLoRA, Hydra, LoRA, MultiLoRA, RandLoRA, SVFit
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared, parameters
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["bora", "dylora", "hydra", "multilora", "randlora", "sharelora", "sorsa", "svfit"]

ATTENTION: At = ("q", "v")


@written(
    papers=[
        "ShareLoRA: Parameter Efficient and Robust Large Language Model Fine-tuning via Shared Low-Rank Adaptation"
    ],
    needs=["train"],
)
def sharelora(
    classes: int | None = None, rank: int = 8, tied: str = "down", at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """LoRA whose A, B or both are common to all matrices of one shape (Song et al., 2024)."""
    return supervised({LoRA(rank=rank, tied=tied): at}, classes, epochs, Gradient())  # type: ignore[arg-type]


@sharelora.claim
def _as_good_for_fewer_parameters(seeds: Sequence[int], on: bool) -> Finding:
    ways = {"lora": LoRA(rank=4), "share_a": LoRA(rank=4, tied="down"), "share_ab": LoRA(rank=4, tied="both")}
    runs, table = compared({n: {"method": m if on else LoRA(rank=4)} for n, m in ways.items()}, seeds)
    counts = {name: parameters(found[0]) for name, found in runs.items()}
    return Finding(
        table,
        "over three layers, A in common: two thirds of LoRA's parameters, all in common: one third, and in each seed at most "
        "1.1 of LoRA's nats and fewer than the unadapted network's",
        3 * counts["share_a"] == 2 * counts["lora"]
        and 3 * counts["share_ab"] == counts["lora"]
        and below(runs["share_a"], runs["lora"], 1.1)
        and below(runs["share_ab"], runs["lora"], 1.1),
    )


@written(papers=["Hydra: Multi-head Low-rank Adaptation for Parameter Efficient Fine-tuning"], needs=["train"])
def hydra(classes: int | None = None, rank: int = 4, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """A parallel and a sequential low-rank branch (Kim et al., 2023)."""
    return supervised({Hydra(rank=rank): at}, classes, epochs, Gradient())


@hydra.claim
def _two_branches_beat_one(seeds: Sequence[int], on: bool) -> Finding:
    runs, table = compared(
        {"lora": {"method": LoRA(rank=4)}, "hydra": {"method": Hydra(rank=2) if on else LoRA(rank=4)}}, seeds
    )
    merged = max(_merged(run) for run in runs["hydra"])
    return Finding(
        {**table, "largest_error_merged": merged},
        "with as many parameters fewer nats than LoRA in each seed; merged, its bias among it, the same to 1e-4",
        below(runs["hydra"], runs["lora"]) and merged < 1e-4,
    )


@torch.no_grad()
def _merged(run: Relearned) -> float:
    images = rearranged("test")[0]
    before = run.model(images)
    run.adapter.merge()
    error = (run.model(images) - before).abs().max() / before.abs().max()
    run.adapter.unmerge()
    return float(error)


@written(papers=["BoRA: Bi-dimensional Weight-Decomposed Low-Rank Adaptation"], needs=["train"])
def bora(classes: int | None = None, rank: int = 8, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """Low-rank directions with free magnitudes of rows and columns (Wang et al., 2024)."""
    return supervised({BoRA(rank=rank): at}, classes, epochs, Gradient())


@bora.claim
def _magnitudes_of_both_sides(seeds: Sequence[int], on: bool) -> Finding:
    weight = layer().weight.detach()
    rows: dict[str, list[float]] = {"bora_rank_1": [], "lora_rank_2": []}
    for seed in seeds:
        wanted = (0.3 * drawn(seed, 128, 1)).exp() * weight * (0.3 * drawn(seed + 100, 1, 128)).exp()
        rows["bora_rank_1"].append(left_over(BoRA(rank=1) if on else LoRA(rank=2), wanted, seed)[0])
        rows["lora_rank_2"].append(left_over(LoRA(rank=2), wanted, seed)[0])
    return Finding(
        {"unadapted": 1.0, **{name: [round(v, 4) for v in found] for name, found in rows.items()}},
        "of a change of the magnitudes of rows and columns, with 512 parameters each, at most half of what LoRA leaves in "
        "each seed",
        all(a <= 0.5 * b for a, b in zip(rows["bora_rank_1"], rows["lora_rank_2"], strict=True)),
    )


@written(papers=["MultiLoRA: Democratizing LoRA for Better Multi-Task Learning"], needs=["train"])
def multilora(
    classes: int | None = None, rank: int = 4, branches: int = 3, at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """Several low-rank updates behind gains that start at zero (Wang et al., 2023)."""
    return supervised({MultiLoRA(rank=rank, branches=branches): at}, classes, epochs, Gradient())


@multilora.claim
def _no_direction_leads(seeds: Sequence[int], on: bool) -> Finding:
    made = MultiLoRA(rank=2, branches=3) if on else LoRA(rank=6)
    runs, table = compared(
        {"lora": {"method": LoRA(rank=6), "epochs": 60}, "multilora": {"method": made, "epochs": 60}}, seeds
    )
    spread = {name: [_spread(run, 6) for run in found] for name, found in runs.items()}
    table |= {f"{name}_singular_value_entropy": [round(v, 3) for v in found] for name, found in spread.items()}
    return Finding(
        table,
        "of six ranks each, the update's singular values have more entropy than LoRA's in each seed, and the network fewer "
        "nats than unadapted",
        all(a > 1.02 * b for a, b in zip(spread["multilora"], spread["lora"], strict=True))
        and below(runs["multilora"], runs["multilora"], 1.01),
    )


@torch.no_grad()
def _spread(run: Relearned, rank: int) -> float:
    """The mean over layers of the entropy, in nats, of the update's normalised singular values."""
    found = []
    for key, module in run.adapter.modules():
        base = network().get_parameter(key)
        values = torch.linalg.svdvals(module.weight(base) - base)[:rank]  # type: ignore[operator]
        shares = values / values.sum()
        found.append(float(-(shares * shares.clamp_min(1e-12).log()).sum()))
    return sum(found) / len(found)


@written(
    papers=["DyLoRA: Parameter Efficient Tuning of Pre-trained Models using Dynamic Search-Free Low-Rank Adaptation"],
    needs=["train"],
)
def dylora(classes: int | None = None, rank: int = 8, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """LoRA that works at every rank up to its own (Valipour et al., 2023)."""
    return supervised({DyLoRA(rank=rank): at}, classes, epochs, Gradient())


@dylora.claim
def _cut_at_any_rank(seeds: Sequence[int], on: bool) -> Finding:
    runs, table = compared(
        {
            "lora": {"method": LoRA(rank=8), "epochs": 60},
            "dylora": {"method": DyLoRA(rank=8) if on else LoRA(rank=8), "epochs": 60},
        },
        seeds,
    )
    cut = {name: {keep: [_cut(run, keep) for run in found] for keep in (1, 2)} for name, found in runs.items()}
    table |= {
        f"{name}_cut_to_{keep}": [round(v, 3) for v in values]
        for name, by_rank in cut.items()
        for keep, values in by_rank.items()
    }
    return Finding(
        table,
        "trained once at rank 8 and cut to 1 and to 2, fewer nats than LoRA cut so in each seed, and than the unadapted "
        "network's",
        all(
            a < b and a < table["unadapted"]
            for keep in (1, 2)
            for a, b in zip(cut["dylora"][keep], cut["lora"][keep], strict=True)
        ),
    )


@torch.no_grad()
def _cut(run: Relearned, keep: int) -> float:
    """Nats on held-out digits with the first so many ranks alone."""
    model = network()
    adapter = attach(model, LoRA(rank=keep, alpha=_alpha(run, keep)), at=INNER)
    for (_, to), (_, of) in zip(adapter.modules(), run.adapter.modules(), strict=True):
        assert isinstance(to, LoRA.Module) and isinstance(of, LoRA.Module)
        to.down.copy_(of.down[:keep])
        to.up.copy_(of.up[:, :keep])
    images, labels = rearranged("test")
    return float(torch.nn.functional.cross_entropy(model(images), labels))


def _alpha(run: Relearned, keep: int) -> float:
    """What keeps a plain LoRA's own scale, and gives DyLoRA's that of the rank."""
    method = run.adapter.parts[0].method
    assert isinstance(method, LoRA)
    return float(method.rank if isinstance(method, DyLoRA) else keep)


@written(
    papers=["RandLoRA: Full-rank parameter-efficient fine-tuning of large models"],
    needs=["train"],
)
def randlora(classes: int | None = None, rank: int = 32, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """Trained diagonals between random matrices (Albert et al., 2025)."""
    return supervised({RandLoRA(rank=rank): at}, classes, epochs, Gradient())


@randlora.claim
def _full_rank_for_fewer_parameters(seeds: Sequence[int], on: bool) -> Finding:
    runs, table = compared(
        {"lora": {"method": LoRA(rank=4)}, "randlora": {"method": RandLoRA(rank=32) if on else LoRA(rank=4)}}, seeds
    )
    ranks = [_rank(run) for run in runs["randlora"]]
    return Finding(
        {**table, "rank_of_the_update": ranks},
        "with fewer parameters than LoRA fewer nats in each seed, and an update of a numerical rank (singular values above 1e-5 "
        "of the largest) of at least 120 of 128",
        min(ranks) >= 120
        and below(runs["randlora"], runs["lora"])
        and parameters(runs["randlora"][0]) < parameters(runs["lora"][0]),
    )


@torch.no_grad()
def _rank(run: Relearned) -> int:
    """The least numerical rank of the update over layers."""
    deltas: list[Tensor] = []
    for key, module in run.adapter.modules():
        base = network().get_parameter(key)
        deltas.append(module.weight(base).double() - base)  # type: ignore[operator]
    return min(int(torch.linalg.matrix_rank(delta, rtol=1e-5)) for delta in deltas)


@written(
    papers=["SVFit: Parameter-Efficient Fine-Tuning of Large Pre-Trained Models Using Singular Values"],
    needs=["train"],
)
def svfit(classes: int | None = None, rank: int = 64, at: At = ATTENTION, epochs: int = 2) -> Sentence:
    """The largest singular values alone (Sun et al., 2024)."""
    return supervised({SVFit(rank=rank): at}, classes, epochs, Gradient(lr=1e-2))


@svfit.claim
def _sixteen_times_fewer(seeds: Sequence[int], on: bool) -> Finding:
    u, s, v = torch.linalg.svd(layer().weight.detach())
    rows: dict[str, list[float]] = {"svfit": [], "lora_rank_4": []}
    counts: dict[str, int] = {}
    for seed in seeds:
        changed = s * torch.cat([(0.4 * drawn(seed, 64)).exp(), torch.ones(64)])
        for name, method in {"svfit": SVFit(rank=64) if on else LoRA(rank=4), "lora_rank_4": LoRA(rank=4)}.items():
            missing, adapter = left_over(method, (u * changed) @ v, seed)
            rows[name].append(missing)
            counts[f"{name}_parameters"] = sum(p.numel() for p in adapter.parameters())
    return Finding(
        {"unadapted": 1.0, **{name: [round(x, 4) for x in found] for name, found in rows.items()}, **counts},
        "of a change of singular values at most half of what LoRA leaves, with 16 times fewer parameters, in each seed",
        all(a <= 0.5 * b for a, b in zip(rows["svfit"], rows["lora_rank_4"], strict=True))
        and 16 * counts["svfit_parameters"] <= counts["lora_rank_4_parameters"],
    )


@written(
    papers=["SORSA: Singular Values and Orthonormal Regularized Singular Vectors Adaptation of Large Language Models"],
    needs=["train"],
)
def sorsa(
    classes: int | None = None, rank: int = 8, penalty: float = 0.1, at: At = ATTENTION, epochs: int = 2
) -> Sentence:
    """The largest singular triplets, kept orthonormal by a penalty (Cao, Song, 2024)."""
    made = supervised({SORSA(rank=rank): at}, classes, epochs, Gradient())
    return Sentence(made.method, CrossEntropy() + penalty * Penalty(), made.loop, made.rule)


@sorsa.claim
def _stays_orthonormal_and_learns_faster(seeds: Sequence[int], on: bool) -> Finding:
    kept = CrossEntropy() + 0.1 * Penalty() if on else CrossEntropy()
    runs, table = compared(
        {
            "lora": {"method": LoRA(rank=8)},
            "sorsa": {"method": SORSA(rank=8), "loss": kept},
            "sorsa_unpenalised": {"method": SORSA(rank=8)},
        },
        seeds,
    )
    defects = {n: [_defect(run) for run in runs[n]] for n in ("sorsa", "sorsa_unpenalised")}
    table |= {f"{name}_defect": [round(v, 4) for v in found] for name, found in defects.items()}
    return Finding(
        table,
        "in each seed a defect of orthonormality of at most a tenth of that without the penalty, and at most 0.8 of the nats "
        "of LoRA at equal rank",
        all(a <= 0.1 * b for a, b in zip(*defects.values(), strict=True)) and below(runs["sorsa"], runs["lora"], 0.8),
    )


@torch.no_grad()
def _defect(run: Relearned) -> float:
    modules = [module for _, module in run.adapter.modules() if isinstance(module, SORSA.Module)]
    return float(torch.stack([module.penalty() for module in modules]).sum())
