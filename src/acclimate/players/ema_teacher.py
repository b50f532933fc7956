"""A teacher whose parameters follow the model's slowly.

    v_j <- decay v_j + (1 - decay) w_j        after each update, from v_j = w_j(0)

Only what is trained has a second value; everything else is shared with the model. Decay 1 is the model as it began.

Tarvainen, Valpola, "Mean Teachers Are Better Role Models: Weight-Averaged Consistency Targets Improve Semi-Supervised
Deep Learning Results", 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.players.asking import answer, held_by
from acclimate.players.teacher import Teacher, TeacherState

__all__ = ["EMATeacher"]


class EMATeacher(Teacher):
    """``decay`` from 0 (the model itself) to 1 (the model as it began).

    >>> EMATeacher().decay
    0.999
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"EMATeacher(decay={self.decay}) cannot work: decay must be in [0, 1]")

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> EMATeacherState:
        return EMATeacherState(self, model, held_by(model, named))


class EMATeacherState(TeacherState):
    def __init__(self, player: EMATeacher, model: nn.Module, parameters: list[nn.Parameter]) -> None:
        self.decay, self.model = player.decay, model
        self.start: dict[Tensor, Tensor] = {p: p.detach().clone() for p in parameters}
        self.values = {p: start.clone() for p, start in self.start.items()}

    def answer(self, inputs: Any) -> Tensor:
        return answer(self.model, inputs, self.values)

    @torch.no_grad()
    def learn(self) -> None:
        for parameter, value in self.values.items():
            value.lerp_(parameter, 1 - self.decay)

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._held()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, tensor in self._held():
            tensor.copy_(tensors[name])

    def reset(self) -> None:
        for parameter, value in self.values.items():
            value.copy_(self.start[parameter])

    def _held(self) -> Iterator[tuple[str, Tensor]]:
        for kind, held in (("value", self.values), ("start", self.start)):
            for number, tensor in enumerate(held.values()):
                yield f"{kind}/{number}", tensor
