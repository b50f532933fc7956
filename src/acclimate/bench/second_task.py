"""One set of parameters a task: what the first task's model says after a second task was taught."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from acclimate.bench import docstring_task as task
from acclimate.data import Batches
from acclimate.engine import Method, adapters, attach, only
from acclimate.loops import finetune, fit, predict
from acclimate.losses import CrossEntropy
from acclimate.sites import At

__all__ = ["first_is_kept"]

ROWS = 32


def first_is_kept(method: Mapping[Method, At], seed: int, own: bool = True) -> bool:
    """Whether the first task's answers are the same bits once a second is taught, on 32 texts, two steps each.

    The second asks whether a text is of an even class. With ``own=False`` it goes on with the first's parameters.
    """
    model, texts = task.encoder(), task.longest(ROWS, 16)
    labels = task.embedded("train")[1][:ROWS]

    def teach(answers: Tensor) -> Tensor:
        data = Batches(texts, answers, ROWS)
        fit(model, data, CrossEntropy(), finetune(epochs=2), seed=seed, check=False, progress=False)
        with only(model, "first"):
            return predict(model, texts)

    first = attach(model, dict(method), name="first", seed=seed)
    try:
        before = teach(labels)
        if own:
            first.disable()
            attach(model, dict(method), name="second", seed=seed + 1)
        return torch.equal(before, teach(labels % 2))
    finally:
        for adapter in list(adapters(model).values()):
            adapter.detach()
