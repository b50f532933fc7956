"""A recipe for a stream, over the whole of one: answers, and their score where labels lie beside the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from acclimate.data import as_batches
from acclimate.loops import Adaptation, Score, stream
from acclimate.recipes.recipe import Result

__all__ = ["streamed"]


def streamed(model: nn.Module, made: Adaptation, batches: Any, name: str, seed: int) -> Result:
    """What a guarded stream answers to the batches, one after the other; it is left open, as an adapter of that name."""
    live = stream(model, made, seed=seed, name=name)
    answers, labels = [], []
    for batch in as_batches(batches, once=True):
        answers.append(live(batch.inputs))
        if batch.labels is not None:
            labels.append(batch.labels)
    logits, after = torch.cat(answers), None
    if labels:
        truth = torch.cat(labels)
        after = Score(len(truth), float((logits.argmax(-1) == truth).double().mean()))
    return Result(live.adapter, None, None, after, tuple(live.events), logits)
