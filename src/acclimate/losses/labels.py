"""Which class each row is taught: the one that is given, or the one that somebody predicts."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import need

__all__ = ["IGNORED", "Of", "class_labels", "given_labels"]

IGNORED = -100
"""A label that asks for nothing (padding, a row that nobody labelled)."""

Of = Literal["own", "teacher", "labels"]


def given_labels(loss: Loss, seen: Seen) -> Tensor:
    """The labels that came with the data, (rows, ...) in 0..classes-1 or `IGNORED`; checked, as no kernel would."""
    labels: Tensor = need(loss, seen, "labels")
    classes = seen.logits.shape[1]
    if labels.shape != (seen.logits.shape[:1] + seen.logits.shape[2:]) or labels.is_floating_point():
        raise LossError(
            f"{type(loss).__name__} needs one whole number for each row of logits {tuple(seen.logits.shape)}, and the "
            f"labels are {tuple(labels.shape)} of {labels.dtype}: give class numbers, the class axis left out"
        )
    known = labels[labels != IGNORED]
    if not known.numel():
        raise LossError(f"no row of the batch has a label (all {labels.numel()} are {IGNORED}): leave such batches out")
    low, high = int(known.min()), int(known.max())
    if low < 0 or high >= classes:
        raise LossError(
            f"a label is {low if low < 0 else high}, and the model has classes 0 to {classes - 1}: correct the labels, "
            "or attach a Head with as many classes as they have"
        )
    return labels.long()


def class_labels(loss: Loss, seen: Seen, of: Of) -> Tensor:
    """The labels given, or those that the model or its teacher finds most likely now."""
    if of == "labels":
        return given_labels(loss, seen)
    says: Tensor = seen.logits if of == "own" else need(loss, seen, "teacher")
    return says.detach().argmax(1)
