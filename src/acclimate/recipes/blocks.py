"""Trees of adapters as blocks that are put together: one on another, side by side, by tokens, by rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from acclimate.bench.experts import WHOLE, accuracy, experts, given, mixed
from acclimate.bench.first_step import unchanged
from acclimate.bench.relearn import network
from acclimate.compose import compositions
from acclimate.engine import Adapter, adapters, load, rows
from acclimate.loops import predict
from acclimate.methods import Bottleneck, LoRA, Scale
from acclimate.recipes.joining import outputs
from acclimate.recipes.recipe import Finding, Together, Tree, written

__all__ = ["blocks"]

CALLS = ("0", "2", "4", "6")
MADE = Bottleneck(width=16, activation="relu")
Change = Callable[[str, Tensor], Tensor]


@written(
    papers=["Adapters: A Unified Library for Parameter-Efficient and Modular Transfer Learning"], needs=["adapters"]
)
def blocks(node: str = "Parallel") -> Together:
    """Adapters put together by a block: Stack, Parallel, Average and the others (Poth et al., 2023)."""
    return Together(Tree(compositions()[node]))


def _by_hand(model: nn.Module, images: Tensor, change: Callable[[Change, Tensor], Tensor]) -> Tensor:
    """The network written out, with what ``change`` makes of each layer's output out of what each adapter does to it."""
    base, held = network(), {name: adapter.tensors() for name, adapter in adapters(model).items()}
    x = images
    for number, layer in enumerate(base):
        x = layer(x)
        if str(number) in CALLS:

            def one(name: str, y: Tensor, place: str = f"0/{number}()") -> Tensor:
                down, bias, up, behind = (held[name][f"{place}/{r}"] for r in ("down", "down_bias", "up", "up_bias"))
                return y + (y @ down.T + bias).relu() @ up.T + behind

            x = change(one, x)
    return x


def _stack(one: Change, y: Tensor) -> Tensor:
    for name in WHOLE:
        y = one(name, y)
    return y


def _parallel(one: Change, y: Tensor) -> Tensor:
    total = y
    for name in WHOLE:
        total = total + one(name, y) - y
    return total


def _average(one: Change, y: Tensor) -> Tensor:
    return (one("one", y) + one("two", y) + one("three", y)) / 3


def _split(one: Change, y: Tensor) -> Tensor:
    return torch.cat([one("one", y[:, :2]), one("two", y[:, 2:3]), one("three", y[:, 3:])], 1)


def _by_row(one: Change, y: Tensor) -> Tensor:
    return torch.stack([one(WHOLE[number % 3], row) for number, row in enumerate(y)])


HAND = {"Stack": _stack, "Parallel": _parallel, "Average": _average, "Split": _split, "rows": _by_row}


@blocks.claim
@torch.no_grad()
def _as_written_by_hand(seeds: Sequence[int], on: bool) -> Finding:
    worst: dict[str, float] = dict.fromkeys(HAND, 0.0)
    saved, untouched, scores = [], [], []
    for seed in seeds:
        model = experts(WHOLE, MADE, seed, CALLS)
        images = torch.stack(mixed(WHOLE, "test")[0].chunk(5), 1)[:24]  # (rows, tokens, pixels), of all tasks
        for name, hand in HAND.items():
            asked = _by_hand(model, images, hand)
            found, tree = _found(model, name if on else "Average", images)
            worst[name] = max(worst[name], float((found - asked).abs().max() / asked.abs().max()))
            if tree is not None:
                saved.append(_saved_alike(tree, found, images))
                tree.detach()
        untouched += [
            unchanged(network(), images, {method: at}, seed)
            for method, at in ((MADE, CALLS), (LoRA(rank=4), "2.weight"), (Scale(), "4"))
        ]
        scores.append([accuracy(model, given(task, "test"), task) for task in WHOLE])
    return Finding(
        {
            "largest_error_against_writing_it_out": {name: f"{error:.1e}" for name, error in worst.items()},
            "experts_on_their_own_tasks": [[round(score, 1) for score in each] for each in scores],
            "saved_and_loaded_bitwise": all(saved),
            "untaught_the_base_bitwise": all(untouched),
        },
        "over three trained adapters a stack, a sum, an average, a split by tokens and a batch whose rows have adapters of their "
        "own answer as the network written out by hand, to 1e-5; saved and loaded, and untaught, to the bit",
        max(worst.values()) < 1e-5 and all(saved) and all(untouched),
        "blocks are compared on bottleneck adapters; fusing is measured by the recipe adapterfusion",
    )


def _found(model: nn.Module, name: str, images: Tensor) -> tuple[Tensor, Adapter | None]:
    if name == "rows":
        with rows(model, [WHOLE[number % 3] for number in range(len(images))]):
            answered: Tensor = model(images)
        return answered, None
    settings = {"begin": (2, 3)} if name == "Split" else {}
    tree = Tree(compositions()[name], settings)(model, WHOLE)
    return outputs(model, images, tree), tree


def _saved_alike(tree: Adapter, asked: Tensor, images: Tensor) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        fresh = network()
        load(fresh, tree.save(Path(folder) / "tree.safetensors"))
        return torch.equal(predict(fresh, (images,)), asked)
