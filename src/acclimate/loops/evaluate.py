"""What a model answers, and how often it is right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.data import Batch, as_batches
from acclimate.engine.batch import move, run_batch
from acclimate.loops.loop import LoopError
from acclimate.losses import IGNORED, logits_of
from acclimate.players import quiet as evaluating

__all__ = ["Score", "check_labels", "evaluate", "evaluating", "logits_of", "predict"]


@dataclass(frozen=True)
class Score:
    """``accuracy`` in [0, 1] for classes, else None; ``error`` the mean squared error for numbers, else None."""

    rows: int
    accuracy: float | None = None
    error: float | None = None
    by_class: tuple[float | None, ...] = ()


def answers(model: nn.Module, data: Any, takes: Mapping[str, str] | None = None) -> Iterator[tuple[Batch, Tensor]]:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    device = torch.device("cpu") if device.type == "meta" else device
    for batch in as_batches(data, takes):
        yield batch, logits_of(run_batch(model, move(batch.inputs, device))).cpu()


def predict(model: nn.Module, data: Any, takes: Mapping[str, str] | None = None) -> Tensor:
    """The logits of every row, in the data's order, on the CPU.

    >>> predict(nn.Linear(2, 3), (torch.zeros(5, 2),)).shape
    torch.Size([5, 3])
    """
    with evaluating(model):
        found = [logits for _, logits in answers(model, data, takes)]
    if not found:
        raise LoopError("the data is empty: there is nothing to predict")
    return torch.cat(found)


def evaluate(model: nn.Module, data: Any, takes: Mapping[str, str] | None = None) -> Score:
    """How right the model is on labelled data.

    >>> evaluate(nn.Identity(), (torch.eye(3), torch.tensor([0, 1, 0]))).accuracy  # doctest: +ELLIPSIS
    0.66...
    """
    right, labels, squared = [], [], 0.0
    with evaluating(model):
        for batch, logits in answers(model, data, takes):
            if batch.labels is None:
                raise LoopError(
                    "evaluate needs labels, and the data has none: give (inputs, labels) or name the column"
                )
            if batch.labels.is_floating_point():
                squared += float((logits.reshape(batch.labels.shape) - batch.labels).square().sum())
            else:
                check_labels(batch.labels, logits)
                right.append(logits.argmax(1) == batch.labels)
            labels.append(batch.labels)
    if not labels:
        raise LoopError("the data is empty: there is nothing to evaluate")
    truth = torch.cat(labels)
    if not right:
        return Score(len(truth), error=squared / truth.numel())
    hits = torch.cat(right).double()
    counts = truth.flatten().bincount()
    by_class = truth.flatten().bincount(hits.flatten())
    each = tuple(float(h / n) if n else None for h, n in zip(by_class, counts, strict=True))
    return Score(len(truth), float(hits.mean()), by_class=each)


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Refuse labels that the head has no class for."""
    classes = logits.shape[1]
    labels = labels[labels != IGNORED]
    if labels.numel() and (int(labels.max()) >= classes or int(labels.min()) < 0):
        raise LoopError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, and the head has {classes} classes, 0 to "
            f"{classes - 1}: attach Head(classes={int(labels.max()) + 1}), or number the labels from 0"
        )
