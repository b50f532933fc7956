"""The learning rate over a run, as a factor.

    (t + 1) / warm                               for step t < warm = warmup * steps
    1,   1 - s   or   (1 + cos(pi s)) / 2        after it, s = (t - warm) / (steps - warm) in [0, 1)

No step of a run has the factor 0. Cosine: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
2017.
"""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Schedule", "factor"]

Schedule = Literal["linear", "constant", "cosine"]


def factor(schedule: Schedule, step: int, steps: int, warmup: float) -> float:
    """For ``step`` of 0..steps-1; a constant schedule goes on beyond ``steps``.

    >>> [factor("linear", step, 4, 0.5) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warm = int(warmup * steps)
    if step < warm:
        return (step + 1) / warm
    if schedule == "constant":
        return 1.0
    if step >= steps:
        raise ValueError(
            f"this is update {step + 1} of a run that was begun for {steps}: a {schedule} schedule has ended; use "
            "schedule='constant', or begin for as many updates as there will be"
        )
    gone = (step - warm) / (steps - warm)
    return 1 - gone if schedule == "linear" else (1 + math.cos(math.pi * gone)) / 2
