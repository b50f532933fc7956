"""When an adapted model may answer: the bounds of the signs it is judged by, and what a judgement says (see `watches`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from acclimate.loops.loop import LoopError

__all__ = ["Guard", "Verdict"]


@dataclass(frozen=True)
class Guard:
    """When to trust. ``probation`` counts rows; ``drift`` and ``order`` are ratios to chance (see `signs`). ``shift`` is how far
    the first norm's statistics must lie from the source's, and ``jump`` from the batch before's, to count as changed
    conditions; the latter in deviations, times the drift there over the drift of deep features. ``narrow``: the frozen model
    sees few classes where its effective number is below this share of the adapted model's; then the adapted one must be
    ``informed`` to this share, and by ``gain`` more than the frozen one. ``collapse``: the least share of the classes it had,
    or that the frozen model has, that the adapted model must keep. ``agreement``: the share of equal answers above which
    there is nothing to lose. ``far``: the most that parameters may move (root mean square). Every ``audit`` batches the
    frozen model is asked again. ``memory`` batches without a strike forgive one. What is good in any order earns trust where
    it is informed to ``explains`` and more than the frozen model, and keeps it while it is informed to ``least`` and, over
    time, not less than that by ``worse``.

    >>> Guard(probation=100).drift
    4.0
    """

    probation: int = 200
    drift: float = 4.0
    order: float = 5.0
    shift: float = 0.25
    jump: float = 0.15
    narrow: float = 0.6
    informed: float = 0.3
    gain: float = 0.25
    collapse: float = 0.5
    agreement: float = 0.9
    far: float = 0.5
    audit: int = 8
    memory: int = 64
    explains: float = 0.25
    least: float = 0.01
    worse: float = 0.02

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0 or not math.isfinite(value):
                raise LoopError(f"Guard({name}={value}) cannot work: {name} must be finite and above 0")


@dataclass(frozen=True)
class Verdict:
    """Whether the adapted model may answer; ``sign`` and ``why`` are given where that has changed."""

    trusted: bool
    values: dict[str, float]
    sign: str = ""
    why: str = ""
