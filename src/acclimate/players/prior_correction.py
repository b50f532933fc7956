"""Answers in the proportions that the batch seems to have.

    z_ik K (m_k + s) / (1 + s K),     m = mean_i p_i,    s = max(1 / rows, 1 / K) / max_k m_k

The logits are multiplied, as in the authors' code, times K, which decides nothing: equal shares leave a model as sure as it was.
Where there are fewer rows than classes the smoothing s makes the factors equal.

Marsden, Doebler, Yang, "Universal Test-time Adaptation through Weight Ensembling, Diversity Weighting, and Prior Correction", 2024
(ROID). A teacher, for the loss must see what is not corrected: ``answer="teacher"``.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from acclimate.losses import Seen
from acclimate.players.asking import answer
from acclimate.players.teacher import Teacher, TeacherState

__all__ = ["PriorCorrection", "corrected"]


def corrected(logits: Tensor) -> Tensor:
    """Logits (rows, classes) times the smoothed shares of their classes.

    >>> import torch
    >>> corrected(torch.zeros(2, 3))
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    rows, classes = logits.shape
    shares = logits.softmax(1).mean(0)
    smooth = max(1 / rows, 1 / classes) / shares.max()
    return logits * classes * (shares + smooth) / (1 + smooth * classes)


class PriorCorrection(Teacher):
    """What the model itself says, corrected; no further forward is made on a stream.

    >>> PriorCorrection().gives
    frozenset({'teacher'})
    """

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> PriorCorrectionState:
        return PriorCorrectionState(model)


class PriorCorrectionState(TeacherState):
    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def answer(self, inputs: Any) -> Tensor:
        return corrected(answer(self.model, inputs))

    def look(self, seen: Seen) -> None:
        seen.teacher = corrected(seen.logits.detach())
