"""Digits on a stream: what claims about streams are measured by, beside what `shift` says of the data."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from acclimate.bench.conditions import Moment
from acclimate.bench.convnet import pretrained
from acclimate.loops import Adaptation, stream

__all__ = ["streamed"]


def streamed(adaptation: Adaptation | None, moments: Iterable[Moment], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (rows, classes) and labels (rows,) of a whole stream without a guard; None is the frozen model.

    >>> from acclimate.bench.shift import percent, world
    >>> logits, labels = streamed(None, world("shuffled", 0)[-2:])
    >>> logits.shape, labels.shape, percent(logits, labels) > 95
    (torch.Size([100, 10]), torch.Size([100]), True)
    """
    model = pretrained()
    answers = model if adaptation is None else stream(model, adaptation, guard=False, seed=seed)
    with torch.no_grad():
        found = [(answers(images), labels) for _, images, labels in moments]
    return torch.cat([logits for logits, _ in found]), torch.cat([labels for _, labels in found])
