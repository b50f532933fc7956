"""A controller that learns which of several frozen skills to use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from acclimate.bench.gridworld import MOVES, learn, play, policy, skilled
from acclimate.compose import Route
from acclimate.engine import adapters, attach
from acclimate.loops import finetune
from acclimate.losses import CrossEntropy
from acclimate.methods import Full
from acclimate.recipes.recipe import Finding, Together, Tree, written
from acclimate.rules import Gradient
from acclimate.sites import linear

__all__ = ["choreographer"]


@written(
    papers=["Choreographer: Learning and Adapting Skills in Imagination"],
    needs=["adapters", "train"],
)
def choreographer(temperature: float = 1.0, epochs: int = 10) -> Together:
    """Frozen skills in shares that a router, which alone is taught, reads from where one is (Mazzaglia et al., 2023)."""
    tree = Tree(Route, {"grain": "row", "temperature": temperature})
    return Together(tree, CrossEntropy(), finetune(epochs=epochs), Gradient(lr=1e-2))


@choreographer.claim
def _skills_reach_a_sparse_goal_sooner(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[Any]] = {"moves_with_skills": [], "moves_from_scratch": [], "solved_from_scratch": []}
    kept, solved = [], []
    for seed in seeds:
        scratch = policy()
        own = attach(scratch, Full(), at="all", name="scratch")
        from_scratch = learn(scratch, own.parameters(), None, seed)
        model = skilled()
        before = {name: {k: t.clone() for k, t in adapters(model)[name].tensors().items()} for name in MOVES}
        router = Tree(Route, {"grain": "row", "top": 1})(model, list(MOVES), "controller")
        ((_, node),) = router.modules()

        def scores(x: Tensor, node: Any = node) -> Tensor:
            return linear(x, *node.routing())

        found = learn(scores, router.parameters(), model if on else None, seed) if on else from_scratch
        rows["moves_with_skills"].append(found.moves)
        rows["moves_from_scratch"].append(from_scratch.moves)
        rows["solved_from_scratch"].append(from_scratch.solved)
        solved.append(found.solved)
        kept.append(
            all(torch.equal(t, adapters(model)[n].tensors()[k]) for n, held in before.items() for k, t in held.items())
        )
    with torch.no_grad():
        untaught = policy()
        reached, _ = play(lambda _, x: untaught(x).argmax(-1), 8)
    return Finding(
        {**rows, "unadapted_reaches_the_goal": bool(reached.isfinite().any()), "skills_keep_their_bits": all(kept)},
        "a reward 24 moves away, which nine of ten episodes come to reach within 15,000 moves in each seed, by choosing among "
        "four frozen skills, each held for six moves; the same learner with all of a policy's weights and no skills has not "
        "after 40,000; the skills keep their bits",
        all(solved) and all(kept) and max(rows["moves_with_skills"]) <= 15_000 and not any(rows["solved_from_scratch"]),
        "with the reward 12 moves away both learn it, with skills in 0.4 to 0.9 of the moves (six seeds); the world model, in "
        "which the paper discovers skills and tries them, is no part of this",
    )
