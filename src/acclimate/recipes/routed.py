"""Adapters between which a learned gate chooses, for each token, row or state."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench import winds
from acclimate.bench.experts import LAYERS, WHOLE, Data, accuracy, experts, given, mixed, taught
from acclimate.compose import Average, Composition, Parallel, Route, compose
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import finetune
from acclimate.losses import CrossEntropy, MeanSquares
from acclimate.methods import LoRA
from acclimate.recipes.joining import beats, chosen_by, joined, kept, outputs, same, table
from acclimate.recipes.recipe import Finding, RecipeError, Together, Tree, written
from acclimate.rules import Gradient
from acclimate.sites import At, select

__all__ = ["mola", "psec", "xlora"]


@written(
    papers=[
        "X-LoRA: Mixture of Low-Rank Adapter Experts, a Flexible Framework for Large Language Models with Applications in "
        "Protein Mechanics and Design"
    ],
    needs=["adapters", "train"],
)
def xlora(temperature: float = 1.0, epochs: int = 10, lr: float = 5e-3) -> Together:
    """A learned share of every frozen adapter, by token and layer (Buehler & Buehler, 2024)."""
    tree = Tree(Route, {"temperature": temperature})
    return Together(tree, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@xlora.claim
def _each_row_finds_its_expert(seeds: Sequence[int], on: bool) -> Finding:
    test = mixed(WHOLE, "test")
    runs = [
        joined(xlora.using(epochs=40) if on else None, WHOLE, test, seed, mixed(WHOLE, "train", 40, seed))
        for seed in seeds
    ]
    bits = all(kept(run, WHOLE) for run in runs)
    trained = sum(parameter.numel() for parameter in runs[0].adapter.parameters())
    alone = all(_one_gate_is_that_expert(seed) for seed in seeds)
    return Finding(
        {
            **table(runs, "routed"),
            "trained_numbers": trained,
            "experts_keep_their_bits": bits,
            "all_to_one_is_that_expert": alone,
        },
        "on images of three tasks in one set, 40 labels each, 25 points above the best expert and above their average in each "
        "seed; nothing but gates is trained, the experts keep their bits; a gate that is all one expert's is that expert, to "
        "1e-5",
        beats(runs, 25) and trained == 3 * (64 + 3 * 128 + 4) and bits and alone,
        "the gate reads what goes into each layer, not the last hidden state of a first pass: one pass instead of two; its "
        "shares add up to one, so that it cannot choose the base",
    )


@torch.no_grad()
def _one_gate_is_that_expert(seed: int) -> bool:
    model = experts(WHOLE, seed=seed)
    tree = Tree(Route)(model, WHOLE)
    return all(
        _sent(tree, index) and same(model, given(task, "test")[0], tree, task) for index, task in enumerate(WHOLE)
    )


def _sent(tree: Adapter, index: int) -> bool:
    """Send everything to one expert."""
    for _, node in tree.modules():
        assert isinstance(node, Route.Module)
        node.prior.copy_(1e4 * nn.functional.one_hot(torch.tensor(index), node.count))
    return True


@written(papers=["Skill Expansion and Composition in Parameter Space"], needs=["adapters", "train"])
def psec(new: int = 4, at: At = "all", epochs: int = 20, lr: float = 5e-2) -> Together:
    """Frozen skills, and a new one of rank ``new``, each with a share that depends on the state (Liu et al., 2025)."""
    fresh = ({LoRA(rank=new): at},) if new else ()
    return Together(Tree(Route, {"grain": "row"}, fresh), MeanSquares(), finetune(epochs=epochs), Gradient(lr=lr))


@psec.claim
def _the_state_decides(seeds: Sequence[int], on: bool) -> Finding:
    known, all_three = ("east", "north"), ("east", "north", "west")
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    alike = True
    for seed in seeds:
        model = winds.skilled(known, seed)
        note("unadapted", winds.arrived(model, known))
        note("best_single", max(winds.arrived(model, known, each) for each in known))
        plain = Tree(Average)(model, known, "average")
        note("average", winds.arrived(model, known, plain))
        for name, field, settings in (
            ("composed", known, {"new": 0}),
            ("a_third_wind_without_a_new_skill", all_three, {"new": 0}),
            ("a_third_wind_with_a_new_skill", all_three, {"new": 4, "at": winds.LAYERS}),
        ):
            data = Batches(*winds.demonstrations(field, seed + 50, 256), 32, seed=seed)
            model = winds.skilled(known, seed)
            made = (
                psec.using(**settings).run(model, adapters=known, train=data, seed=seed, progress=False).adapter
                if on
                else Tree(Average)(model, known)
            )
            note(name, winds.arrived(model, field, made))
        with torch.no_grad():
            tree = Tree(Route, {"grain": "row"})(model, known, "one")
            at = winds.places(seed)
            alike &= all(_sent(tree, index) and same(model, at, tree, each) for index, each in enumerate(known))
    rivals = zip(found["best_single"], found["average"], found["composed"], strict=True)
    grown = zip(found["a_third_wind_with_a_new_skill"], found["a_third_wind_without_a_new_skill"], strict=True)
    return Finding(
        {**{name: [round(v, 1) for v in values] for name, values in found.items()}, "all_to_one_is_that_skill": alike},
        "where one wind blows low and another high, 25 points more flights arrive than with the best skill and with their "
        "average in each seed; with a third wind, 10 more if a new skill may be learned; a share of 1 is that skill, to 1e-5",
        all(made >= max(single, mean) + 25 for single, mean, made in rivals)
        and all(with_new >= without + 10 for with_new, without in grown)
        and alike,
        "a kite in winds stands for the robots: skills are imitated, by regression and not by diffusion",
    )


@dataclass(frozen=True)
class Layers:
    """Fresh experts between which each layer routes, ``experts`` of them in each equal share of the layers."""

    experts: tuple[int, ...]
    top: int
    rank: int
    at: At

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "layers", seed: int = 0, data: Any = None
    ) -> Adapter:
        return compose(model, self.tree(model), name=name, seed=seed)

    def tree(self, model: nn.Module) -> Composition:
        keys = [site.key for site in select(model, self.at, "weight")]
        layers = [list(group) for _, group in itertools.groupby(keys, _layer)]
        if len(layers) < len(self.experts):
            raise RecipeError(
                f"experts={self.experts} are for at least {len(self.experts)} layers, and at={self.at!r} names sites in "
                f"{len(layers)}: give fewer numbers"
            )
        shares: list[list[str]] = [[] for _ in self.experts]
        for number, group in enumerate(layers):
            shares[number * len(shares) // len(layers)] += group
        routes = [
            Tree(Route, {"top": min(self.top, count)}, ({LoRA(rank=self.rank): tuple(share)},) * count)
            for count, share in zip(self.experts, shares, strict=True)
        ]
        return Tree(Parallel, fresh=[route.over() for route in routes]).over()


def _layer(key: str) -> str:
    """The path down to its first number.

    >>> _layer("encoder.layer.3.query.weight")
    'encoder.layer.3'
    """
    parts = key.split(".")
    return ".".join(parts[: next((i + 1 for i, part in enumerate(parts) if part.isdigit()), None)])


@written(papers=["Higher Layers Need More LoRA Experts"], needs=["train"])
def mola(
    experts: Sequence[int] = (2, 4, 6, 8), top: int = 2, rank: int = 8, at: At = ("attention", "mlp"),
    epochs: int = 2, lr: float = 1e-3,
) -> Together:  # fmt: skip
    """Routed LoRA experts, more of them in the higher layers (Gao et al., 2024)."""
    return Together(Layers(tuple(experts), top, rank, at), CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@mola.claim
def _as_many_as_asked_for(seeds: Sequence[int], on: bool) -> Finding:
    asked, test = (1, 2, 3, 4), mixed(WHOLE, "test")
    found: dict[str, list[float]] = {}
    counted, chosen, untouched, single = [], [], [], []
    for seed in seeds:
        train = mixed(WHOLE, "train", 200, seed)
        found.setdefault("unadapted", []).append(accuracy(experts(()), test))
        for name, counts in {"more_above": asked, "more_below": asked[::-1]}.items():
            model = experts(())
            made = Layers(counts if on else (1,) * 4, 2, 4, LAYERS)(model, (), seed=seed)
            if name == "more_above":
                counted.append([each.count for _, node in made.modules() for each in node.children()])
                untouched.append(bool(torch.equal(outputs(model, test[0], made), outputs(model, test[0]))))
            taught(model, train, seed, epochs=10, lr=2e-2)
            found.setdefault(name, []).append(accuracy(model, test, made))
            if name == "more_above":
                chosen.append(max(int((each > 0).sum(-1).max()) for each in chosen_by(made, test[0]).values()))
        single.append(_one_is_lora(train, test[0], seed))
    return Finding(
        {
            **{name: [round(v, 1) for v in values] for name, values in found.items()},
            "experts_by_layer": counted,
            "most_experts_chosen_for_a_row": chosen,
            "untaught_the_base_bitwise": all(untouched),
            "one_expert_is_lora": all(single),
        },
        "1, 2, 3 and 4 experts in four layers, of which no row has more than 2; untaught the base to the bit; with one expert "
        "each, taught, the same as LoRA to 1e-5; taught, 15 points above the unadapted network in each seed",
        all(each == list(asked) for each in counted)
        and all(most == 2 for most in chosen)
        and all(untouched)
        and all(single)
        and all(a >= b + 15 for a, b in zip(found["more_above"], found["unadapted"], strict=True)),
        "more experts above than below led early in training and not later, so it is not required; no penalty balances the loads",
    )


def _one_is_lora(train: Data, images: Tensor, seed: int) -> bool:
    model = experts(())
    made = Layers((1,) * 4, 2, 4, LAYERS)(model, (), seed=seed)
    taught(model, train, seed, epochs=3, lr=1e-2)
    made.disable()
    plain = attach(model, LoRA(rank=4), at=LAYERS, name="lora", seed=seed)
    taught(model, train, seed, epochs=3, lr=1e-2)
    return same(model, images, made, plain)
