"""Reading a `Seen`: what a loss needs is there, or one sentence says what is missing and who would give it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from acclimate.losses.loss import Loss, LossError, Seen

__all__ = ["feature_pair", "need"]

_GIVERS = {
    "labels": "give the data labels, or use a loss that needs none",
    "target": "use a loop over two domains (domain_pair)",
    "teacher": "add a player that gives one (EMATeacher, BaseTeacher)",
    "start": "use a loop that remembers where the trained parameters began, and train at least one",
    "modules": "teach an adapter with fit or a stream, which show its modules",
    "index": "use a loop that numbers the rows of its data",
}


def need(loss: Loss, seen: Seen, name: str) -> Any:
    """One field of what was seen, ``labels`` or ``features:AT``; a `LossError` where it is absent.

    >>> import torch
    >>> from acclimate.losses import CrossEntropy
    >>> need(CrossEntropy(), Seen(None, None, torch.zeros(1, 2)), "labels")
    Traceback (most recent call last):
    ...
    acclimate.losses.loss.LossError: CrossEntropy needs labels, and the loop gave none: give the data labels, or use a \
loss that needs none
    """
    field, _, at = name.partition(":")
    if field == "features":
        found = seen.features.get(at)
        given = f"features at {', '.join(map(repr, seen.features))}" if seen.features else "no features"
        how = "name a site the model has, in a loop that records features"
    else:
        found, given, how = getattr(seen, field), "none", _GIVERS[field]
    if found is None or (field in ("start", "modules") and not found):
        raise LossError(f"{type(loss).__name__} needs {name}, and the loop gave {given}: {how}")
    return found


def feature_pair(loss: Loss, seen: Seen, at: str) -> tuple[Tensor, Tensor]:
    """The features of both domains, each (rows, channels)."""
    name = f"features:{at}"
    source = need(loss, seen, name).flatten(1)
    target = need(loss, need(loss, seen, "target"), name).flatten(1)
    if source.shape[1] != target.shape[1]:
        raise LossError(
            f"the features at {at!r} have {source.shape[1]} values a row in the source and {target.shape[1]} in the "
            "target: name a site that gives one vector a row"
        )
    return source, target
