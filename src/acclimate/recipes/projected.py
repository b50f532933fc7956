"""The input is brought back to the source, each by itself, and the network stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.bench import shift
from acclimate.bench.conditions import CONDITIONS
from acclimate.bench.convnet import pretrained
from acclimate.bench.digits import digits
from acclimate.bench.streaming import streamed
from acclimate.data import Batches, generator
from acclimate.engine import Adapter, attach
from acclimate.loops import finetune
from acclimate.losses import SelfTaught
from acclimate.methods.projected import Edited, Projected, both
from acclimate.recipes.recipe import Finding, Recipe, Sentence, written
from acclimate.recipes.shifted import least_gain, rounded
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["corruption_editor", "dda"]

_SHOWN = ("noise", "blur", "contrast")
"""What the editor is shown the like of."""


@written(papers=["Back to the Source: Diffusion-Driven Test-Time Adaptation"], needs=["train"])
def dda(
    width: int = 16, steps: int = 10, noisy: float = 0.4, guidance: float = 0.5, at: At = "embedding",
    epochs: int = 8, lr: float = 5e-3,
) -> Sentence:  # fmt: skip
    """A diffusion model of the source stands before the network and brings images back to it (Gao et al., 2023).

    Images are put under as much noise as ``noisy`` says; `acclimate.methods.projected.both` averages the answers.
    """
    method = Projected(width=width, steps=steps, start=noisy, guidance=guidance)
    return Sentence({method: at}, SelfTaught(), finetune(epochs=epochs), Gradient(lr=lr))


@dda.claim
def _rights_each_image_by_itself(seeds: Sequence[int], on: bool) -> Finding:
    """Taught on clean digits. Switched off, the diffusion model is as it was drawn."""
    rows: dict[str, list[float]] = {}
    apart = 0.0
    ordered = True
    for seed in seeds:
        adapter = _placed(dda, seed, on, Projected(width=16, start=0.4))
        _score(rows, adapter, seed, "")
        images = CONDITIONS["noise"](digits("test")[0][:100], 0.6, generator(seed, 1))
        order = torch.randperm(len(images), generator=generator(seed, 2))
        with torch.no_grad():
            whole, other = both(adapter, images), both(adapter, images[order])
            alone = torch.cat([both(adapter, images[row : row + 1]) for row in range(8)])
        apart = max(apart, float((whole[:8] - alone).abs().max()), float((whole[order] - other).abs().max()))
        ordered = ordered and torch.equal(whole[order].argmax(1), other.argmax(1))
        runs = list(shift.world("sorted", seed, 0.6))[:12]
        rows.setdefault("batch_statistics_noise_sorted", []).append(
            shift.percent(*streamed(shift.STATISTICS, runs, seed))
        )
    return Finding(
        {
            **rounded(rows),
            "most_that_others_change_an_answer": float(f"{apart:.1e}"),
            "same_answers_in_any_order": ordered,
        },
        "averaged with the answer to the image as it is, in each seed at least 5 points above the unadapted model under noise and "
        "blur, more than 20 points above statistics of the batch where classes come sorted, and at most 4 lost on clean images; an "
        "answer is the same alone, in a batch and in any order, to 1e-4",
        apart < 1e-4
        and ordered
        and all(least_gain(rows, f"both_{name}", f"unadapted_{name}") >= 5 for name in ("noise", "blur"))
        and least_gain(rows, "both_noise", "batch_statistics_noise_sorted") >= 20
        and least_gain(rows, "both_clean", "unadapted_clean") >= -4,
        "under low contrast, where the network is sure and wrong, the average keeps its error and the projection alone does not",
    )


@written(papers=["Efficient Diffusion-Driven Corruption Editor for Test-Time Adaptation"], needs=["train"])
def corruption_editor(
    width: int = 16, steps: int = 4, at: At = "embedding", epochs: int = 8, lr: float = 5e-3
) -> Sentence:
    """A diffusion model that was shown corrupted images beside clean ones edits the corruption away (Oh et al., 2024)."""
    method = Edited(width=width, steps=steps)
    return Sentence({method: at}, SelfTaught(), finetune(epochs=epochs), Gradient(lr=lr))


@corruption_editor.claim
def _edits_in_four_steps_what_it_knows(seeds: Sequence[int], on: bool) -> Finding:
    """Shown blurred, faded and noisy digits of the source. Switched off, the editor is as it was drawn."""
    rows: dict[str, list[float]] = {}
    for seed in seeds:
        for steps, name in ((4, ""), (20, "_in_20_steps")):
            _score(rows, _placed(corruption_editor, seed, on, Edited(width=16, steps=steps)), seed, name)
    kept = [
        sum(rows[f"projected_{name}"][i] - rows[f"unadapted_{name}"][i] for name in _SHOWN)
        / sum(rows[f"projected_{name}_in_20_steps"][i] - rows[f"unadapted_{name}"][i] for name in _SHOWN)
        for i in range(len(seeds))
    ]
    return Finding(
        {**rounded(rows), **rounded({"share_of_the_gain_in_4_steps": kept}, 2)},
        "edited in four steps, in each seed at least 8 points above the unadapted model under noise, blur and low contrast, the "
        "like of which it has seen, with at least nine tenths of the gain of twenty steps",
        all(least_gain(rows, f"projected_{name}", f"unadapted_{name}") >= 8 for name in _SHOWN) and min(kept) >= 0.9,
        "no latent model and no distillation: where the model says the clean image and not the noise, four steps need none; "
        "averaging with the answer to the image as it is keeps clean images right and undoes the gain under low contrast",
    )


_TAUGHT: dict[tuple[str, int], list[Tensor]] = {}


def _placed(recipe: Recipe, seed: int, on: bool, method: Projected) -> Adapter:
    """The method before the network, with what was learned in single steps, for teaching needs no more."""
    adapter = attach(pretrained(), method, at="conv1", name="projected", seed=seed)
    if on:
        if (recipe.name, seed) not in _TAUGHT:
            made = recipe.using(at="conv1", steps=1).run(
                pretrained(), train=Batches(*digits("train"), 64, seed=seed), seed=seed, progress=False
            )
            _TAUGHT[recipe.name, seed] = list(made.adapter.tensors().values())
        with torch.no_grad():
            for own, taught in zip(adapter.tensors().values(), _TAUGHT[recipe.name, seed], strict=True):
                own.copy_(taught)
    return adapter


@torch.no_grad()
def _score(rows: dict[str, list[float]], adapter: Adapter, seed: int, how: str) -> None:
    """Accuracies as it is, projected and averaged, under each condition."""
    images, labels = (each[::2] for each in digits("test"))
    for name in (*_SHOWN, *(() if how else ("occlusion", "rotation", "clean"))):
        seen = CONDITIONS[name](images, 0.6, generator(seed, 1))
        rows.setdefault(f"projected_{name}{how}", []).append(shift.percent(adapter.model(seen), labels))
        if not how:
            rows.setdefault(f"unadapted_{name}", []).append(shift.percent(pretrained()(seen), labels))
            rows.setdefault(f"both_{name}", []).append(shift.percent(both(adapter, seen), labels))
