"""Where a low-rank update starts: in the base's own directions, or in those of the data."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from acclimate.bench.first_step import unchanged
from acclimate.bench.relearn import INNER, known, network, rearranged
from acclimate.engine import attach, only
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.relearning import below, compared
from acclimate.recipes.supervised import supervised
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["corda", "eva", "pissa"]

ATTENTION: At = ("q", "v")


def _started(init: str, classes: int | None, rank: int, at: At, lr: float | None, epochs: int) -> Sentence:
    return supervised({LoRA(rank=rank, init=init): at}, classes, epochs, Gradient(lr=lr))


@written(
    papers=["PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models"],
    needs=["train"],
)
def pissa(
    classes: int | None = None, rank: int = 8, at: At = ATTENTION, lr: float | None = None, epochs: int = 2
) -> Sentence:
    """LoRA that starts as the largest singular directions of the weight (Meng et al., 2024)."""
    return _started("pissa", classes, rank, at, lr, epochs)


@pissa.claim
def _faster_than_from_noise(seeds: Sequence[int], on: bool) -> Finding:
    started = LoRA(rank=4, init="pissa" if on else "uniform")
    runs, table = compared({"lora": {"method": LoRA(rank=4)}, "pissa": {"method": started}}, seeds)
    images = rearranged("test")[0]
    same = all(unchanged(network(), images, {started: INNER}, seed) for seed in seeds)
    exported = max(_exported(run) for run in runs["pissa"])
    return Finding(
        {**table, "the_base_untaught_bitwise": same, "largest_error_as_plain_lora_of_rank_8": exported},
        "at equal steps, parameters and rate at most 0.8 of the nats of LoRA from noise in each seed; untaught the base to "
        "the bit; written as a LoRA of twice the rank the same to 1e-4",
        same and exported < 1e-4 and below(runs["pissa"], runs["lora"], 0.8),
    )


def _exported(run: object) -> float:
    """The largest error of the update written as the factors [B, -B0], [A; A0], over the largest answer."""
    from acclimate.bench.relearn import Relearned

    assert isinstance(run, Relearned)
    images = rearranged("test")[0]
    with torch.no_grad():
        wanted = run.model(images)
        plain = network()
        adapter = attach(plain, LoRA(rank=8), at=INNER)
        for (_, to), (_, of) in zip(adapter.modules(), run.adapter.modules(), strict=True):
            assert isinstance(to, LoRA.Module) and isinstance(of, LoRA.Module)
            moved = of.moved
            to.down.copy_(torch.cat([of.down, of.down0 if moved else 0 * of.down]))
            to.up.copy_(torch.cat([of.up, -of.up0 if moved else 0 * of.up], 1))
        return float((plain(images) - wanted).abs().max() / wanted.abs().max())


@written(papers=["One Initialization to Rule them All: Fine-tuning via Explained Variance Adaptation"], needs=["train"])
def eva(
    classes: int | None = None, rank: int = 8, at: At = ATTENTION, lr: float | None = None, epochs: int = 2
) -> Sentence:
    """LoRA whose A is the inputs' main directions; needs ``data=`` to look at (Paischer et al., 2024)."""
    return _started("eva", classes, rank, at, lr, epochs)


@eva.claim
def _the_inputs_directions_learn_faster(seeds: Sequence[int], on: bool) -> Finding:
    images = rearranged("train")[0]
    method = LoRA(rank=4, init="eva" if on else "uniform")
    runs, table = compared({"lora": {"method": LoRA(rank=4)}, "eva": {"method": method, "data": images}}, seeds)
    explained = [_explained(method, seed) for seed in seeds]
    table["explained_variance_of_the_inputs"] = [round(share, 3) for share in explained]
    return Finding(
        table,
        "at equal steps, parameters and rate at most 0.8 of the nats of LoRA from noise in each seed; untaught, the rows of A "
        "explain at least half of the inputs' square",
        below(runs["eva"], runs["lora"], 0.8) and min(explained) >= 0.5,
    )


@torch.no_grad()
def _explained(method: LoRA, seed: int) -> float:
    """The share of the first layer's inputs that lies along A's rows."""
    model, images = network(), rearranged("train")[0]
    adapter = attach(model, method, at=INNER, data=images, seed=seed)
    with only(model):
        x = model[:2](images)
    module = next(iter(adapter.modules()))[1]
    assert isinstance(module, LoRA.Module)
    rows = torch.linalg.qr(module.down.mT)[0]
    return float((x @ rows).square().sum() / x.square().sum())


@written(papers=["CorDA: Context-Oriented Decomposition Adaptation of Large Language Models"], needs=["train"])
def corda(
    classes: int | None = None,
    rank: int = 8,
    preserve: bool = True,
    at: At = ATTENTION,
    lr: float | None = None,
    epochs: int = 2,
) -> Sentence:
    """LoRA in the directions that ``data=`` uses least, to preserve it, or most, to learn it (Yang et al., 2024)."""
    return _started("corda" if preserve else "corda_new", classes, rank, at, lr, epochs)


@corda.claim
def _forgets_less_and_learns_more(seeds: Sequence[int], on: bool) -> Finding:
    kept = LoRA(rank=4, init="corda" if on else "uniform")
    taken = LoRA(rank=4, init="corda_new" if on else "uniform")
    runs, table = compared(
        {
            "lora": {"method": LoRA(rank=4)},
            "preserving": {"method": kept, "data": known("train")[0]},
            "previewing": {"method": taken, "data": rearranged("train")[0]},
        },
        seeds,
    )
    table |= {f"{name}_on_what_it_knew": [round(run.knew, 3) for run in found] for name, found in runs.items()}
    forgets = all(a.knew <= 0.9 * b.knew for a, b in zip(runs["preserving"], runs["lora"], strict=True))
    return Finding(
        table,
        "looking at the old digits, in each seed at most 0.9 of LoRA's nats on them and fewer on the new; looking at the "
        "new digits, at most 0.8 of LoRA's nats on them",
        forgets and below(runs["preserving"], runs["lora"]) and below(runs["previewing"], runs["lora"], 0.8),
    )
