"""A loss or a gradient that is no number: noticed before anything is updated."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["NonFinite", "finite"]


class NonFinite(ArithmeticError):
    """``step`` counts updates from 0: it is the one that was not made."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


def finite(value: Tensor, step: int, what: str = "loss", names: Sequence[str] = ()) -> float:
    """The value as a number, or `NonFinite` where it is infinite or none.

    >>> import torch
    >>> finite(torch.tensor(float("nan")), 3)
    Traceback (most recent call last):
    ...
    acclimate.rules.nonfinite.NonFinite: the loss is nan at step 3, and nothing was updated: lower the learning rate, \
or look for infinite values in the batch
    """
    number = float(value)
    if number != number or number in (float("inf"), float("-inf")):
        where = f" of {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" if names else ""
        raise NonFinite(
            step,
            f"the {what}{where} is {number} at step {step}, and nothing was updated: lower the learning rate, or look "
            "for infinite values in the batch",
        )
    return number
