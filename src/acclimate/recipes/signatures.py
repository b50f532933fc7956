"""Robustness as a patch: what training on spoilt images changes beyond what training on clean ones does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from acclimate.bench.experts import LAYERS, accuracy, experts, given
from acclimate.compose import Average
from acclimate.engine import Adapter
from acclimate.methods import Full
from acclimate.recipes.recipe import Finding, RecipeError, Together, Tree, written

__all__ = ["signatures"]

SPOILT = ("streaked", "shifted")
BESIDE = tuple(f"clean,{task}" for task in SPOILT)
"""Taught spoilt images and the same ones clean."""
VECTORS: Mapping[str, Any] = {"method": Full(), "at": LAYERS, "lr": 1e-3}


@dataclass(frozen=True)
class Patch:
    """Every adapter but the last, less the last: W + strength sum_i (D_i - D_clean)."""

    strength: float

    def __call__(
        self, model: nn.Module, adapters: Collection[Any], name: str = "patch", seed: int = 0, data: Any = None
    ) -> Adapter:
        if len(adapters) < 2:
            raise RecipeError(
                f"a signature is a difference, and {len(adapters)} adapters were given: those trained on spoilt data, "
                "and then the one trained on clean data"
            )
        spoilt = len(adapters) - 1
        weights = (*(self.strength,) * spoilt, -self.strength * spoilt)
        return Tree(Average, {"weights": weights})(model, adapters, name, seed)


@written(papers=["Robust Weight Signatures: Gaining Robustness as Easy as Patching Weights?"], needs=["adapters"])
def signatures(strength: float = 1.0) -> Together:
    """Patches of weights for robustness: trained on spoilt data less trained on clean data (Cai et al., 2023)."""
    return Together(Patch(strength))


@signatures.claim
def _a_patch_and_no_more(seeds: Sequence[int], on: bool) -> Finding:
    steps = (0.25, 0.5, 0.75)
    table: dict[str, list[Any]] = {}
    rising, gains, both, clean, restored = [], [], [], [], []
    for seed in seeds:
        model = experts((*BESIDE, "clean"), seed=seed, **VECTORS)
        base = {task: accuracy(model, given(task, "test")) for task in (*SPOILT, "clean")}
        table.setdefault("unadapted_streaked_shifted_clean", []).append([round(v, 1) for v in base.values()])
        for task in SPOILT:
            scores = [_patched(model, [task], task, step, on) for step in steps]
            rising.append(all(b > a for a, b in zip([base[task], *scores], scores, strict=False)))
            gains.append(scores[-1] - base[task])
            clean.append(base["clean"] - _patched(model, [task], "clean", steps[-1], on))
            strengths = "_".join(f"{step:g}" for step in steps)
            table.setdefault(f"{task}_patched_by_{strengths}", []).append([round(v, 1) for v in scores])
        found = [_patched(model, SPOILT, task, 0.6, on) for task in SPOILT]
        both += [score - base[task] for score, task in zip(found, SPOILT, strict=True)]
        table.setdefault("both_patches_at_0.6", []).append([round(v, 1) for v in found])
        restored.append(_restored(model))
    table["clean_accuracy_lost"] = [round(v, 1) for v in clean]
    return Finding(
        {**table, "taken_out_restores_every_bit": all(restored)},
        "a patch of strength 0.25, 0.5 and 0.75 answers spoilt images better each time, and 20 points better than the unadapted "
        "network at last, in each seed and for both kinds, for at most 5 points on clean images; both patches together are "
        "10 better on either kind; taken out of the weights they leave every bit as it was",
        all(rising) and min(gains) >= 20 and max(clean) <= 5 and min(both) >= 10 and all(restored),
        "all layers are patched, whole and in full precision: shallow layers alone, the projection that takes out what lies "
        "along the clean weights, and quantised patches are not tried",
    )


def _patched(model: nn.Module, spoilt: Sequence[str], task: str, strength: float, on: bool) -> float:
    """On a task, with the patch, or with as much of what training on clean images changed."""
    if on:
        made = (
            signatures.using(strength=strength)
            .run(model, adapters=[*(f"clean,{each}" for each in spoilt), "clean"])
            .adapter
        )
    else:
        made = Tree(Average, {"weights": (strength,)})(model, ["clean"])
    found = accuracy(model, given(task, "test"), made)
    made.detach()
    return found


def _restored(model: nn.Module) -> bool:
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    made = signatures.run(model, adapters=[*BESIDE, "clean"]).adapter
    made.merge()
    moved = any(not torch.equal(before[key], tensor) for key, tensor in model.state_dict().items() if key in before)
    made.unmerge()
    made.detach()
    after = model.state_dict()
    return moved and all(torch.equal(tensor, after[key]) for key, tensor in before.items())
