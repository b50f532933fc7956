"""A task learned on top of one language, and answered in another by swapping what is below it."""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.bench.experts import given
from acclimate.bench.languages import MIDDLE, Reader, precision, ranker
from acclimate.compose import Stack, take
from acclimate.data import Batches
from acclimate.engine import Adapter
from acclimate.loops import finetune
from acclimate.losses import CrossEntropy
from acclimate.methods import LoRA
from acclimate.recipes.recipe import Finding, Together, Tree, written
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["reranking"]

SOURCE, TARGET = "upper", "lower"
PLACES: At = (*MIDDLE, "head.weight")


@written(
    papers=["Parameter-Efficient Neural Reranking for Cross-Lingual and Multilingual Retrieval"],
    needs=["adapters", "train"],
)
def reranking(rank: int = 8, at: At = ("attention", "mlp"), epochs: int = 2, lr: float = 1e-3) -> Together:
    """A new task adapter on top of a frozen language adapter, which can be swapped afterwards (Litschko et al., 2022)."""
    tree = Tree(Stack, fresh=({LoRA(rank=rank): at},))
    return Together(tree, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=lr))


@reranking.claim
def _the_language_can_be_swapped(seeds: Sequence[int], on: bool) -> Finding:
    table: dict[str, list[float]] = {}
    for seed in seeds:
        model = ranker(SOURCE, TARGET, seed=seed)
        made = reranking.using(at=PLACES, epochs=40, lr=3e-3)
        data = Batches(*given(SOURCE, "train"), 128, seed=seed)
        stacked = made.run(model, adapters=[SOURCE], train=data, seed=seed, progress=False).adapter
        alone = ranker(seed=seed)
        bare = made.run(alone, adapters=[], train=data, seed=seed, progress=False).adapter
        scores = {
            "unadapted": precision(model, TARGET),
            "source_language_answered": precision(model, SOURCE, stacked),
            "target_without_language_adapters": precision(alone, TARGET, bare),
            "target_with_the_sources_kept": precision(model, TARGET, stacked),
            "target_swapped": precision(model, TARGET, _over(TARGET if on else SOURCE, model, stacked)),
        }
        for name, score in scores.items():
            table.setdefault(name, []).append(score)
    rivals = zip(table["unadapted"], table["target_without_language_adapters"], strict=True)
    kept = zip(table["target_swapped"], table["target_with_the_sources_kept"], strict=True)
    return Finding(
        {name: [round(score, 1) for score in scores] for name, scores in table.items()},
        "mean average precision in a language without labels: with its own adapter below the task's 20 points above the source's "
        "kept there, 10 above a task adapter without languages and above the unadapted network, in each seed",
        all(swapped >= max(rival) + 10 for swapped, rival in zip(table["target_swapped"], rivals, strict=True))
        and all(swapped >= source + 20 for swapped, source in kept),
        "the languages share half of their pixels, as tongues share words; with none in common a swap did not help. Sparse masks "
        "in place of adapters are not tried",
    )


def _over(language: str, model: Reader, stacked: Adapter) -> Adapter:
    """The same task adapter on top of another language."""
    task = take(stacked, str(stacked.parts[0].method.children[1]), "task")  # type: ignore[attr-defined]
    return Tree(Stack)(model, [language, task], "swapped")
