"""A change of magnitudes alone: how near a method comes to a projection whose rows were rescaled.

The target is MiniLM's own first query projection with each of its 384 rows times a factor of its own, exp(0.3 N(0, 1)):
a change of full rank, and none of direction. Inputs are the encoder's embeddings of docstrings.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from acclimate.bench.docstring_task import embedded, encoder
from acclimate.data import Batches
from acclimate.engine import Method, attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import MeanSquares
from acclimate.rules import Gradient

__all__ = ["left_over"]


def left_over(method: Method, seed: int, epochs: int = 8, lr: float = 1e-2) -> float:
    """The share of the change that is still missing after ``epochs`` over the texts: 1 for the unadapted projection."""
    taught: nn.Linear = encoder().encoder.layer[0].attention.self.query
    pupil = nn.Sequential(copy.deepcopy(taught))
    learn, asked = (embedded(part)[0] for part in ("train", "test"))
    factors = (0.3 * torch.randn(taught.out_features, generator=torch.Generator().manual_seed(seed))).exp()

    @torch.no_grad()
    def target(x: Tensor) -> Tensor:
        return nn.functional.linear(x, factors.unsqueeze(1) * taught.weight, taught.bias)

    held = asked, target(asked)
    before = evaluate(pupil, held).error
    attach(pupil, method, at="0.weight", seed=seed)
    data = Batches(learn, target(learn), 16, seed=seed)
    fit(pupil, data, MeanSquares(), finetune(epochs=epochs), Gradient(lr=lr), seed=seed, progress=False)
    after = evaluate(pupil, held).error
    assert before is not None and after is not None
    return after / before
