"""Labelled rows of the source on their way to the stream: each is mixed with the row of the batch that is most like it.

    j(i) = argmax_j p_i . q_j        p: what the model says of a source row i,  q: of the rows j that came
    x'_i = mix(x_i, x_j(i)),   with the label of x_i        as ``seen.target``

The mixture is a function of (source rows, rows that came): `Blended` mixes pixels, `InStyle` what each channel's mean and deviation
are. As many source rows as came are drawn from those that are held, so memory does not grow; a stream that has none of the source
cannot do this.

Marsden, Doebler, Yang, "Gradual Test-Time Adaptation by Self-Training and Style Transfer", 2022 (GTTA), as in its code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine.batch import run_batch
from acclimate.losses import LossError, Seen, logits_of
from acclimate.methods.restyled import restyled, style
from acclimate.players.asking import answer
from acclimate.players.drawing import DrawingState
from acclimate.players.player import Player

__all__ = ["Blended", "InStyle", "MixedSource"]


@dataclass(frozen=True)
class Blended:
    """``share`` of each value is the stream's.

    >>> Blended(0.25)(torch.zeros(1), torch.ones(1))
    tensor([0.2500])
    """

    share: float = 1 / 3

    def __call__(self, source: Tensor, came: Tensor) -> Tensor:
        return source.lerp(came, self.share)


@dataclass(frozen=True)
class InStyle:
    """Images (rows, channels, places ...) whose channels have the stream's mean and deviation, by ``share``.

    There a network that was taught on the source redraws images with moments of its features; here moments are of pixels.

    >>> InStyle()(torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[0.0, 8.0]]]))
    tensor([[[0., 8.]]])
    """

    share: float = 1.0

    def __call__(self, source: Tensor, came: Tensor) -> Tensor:
        mean, deviation = (own.lerp(other, self.share) for own, other in zip(style(source), style(came), strict=True))
        return restyled(source, mean, deviation)


class MixedSource(Player):
    """Holds ``inputs`` (rows, ...) of the source with ``labels`` (rows,), for `OnTarget(CrossEntropy())`.

    >>> sorted(MixedSource().gives)
    ['labels', 'target']
    """

    inputs: Tensor | None = field(default=None, repr=False)
    labels: Tensor | None = field(default=None, repr=False)
    mix: Callable[[Tensor, Tensor], Tensor] = Blended()
    seed: int = 0

    gives: ClassVar[frozenset[str]] = frozenset({"target", "labels"})

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> MixedSourceState:
        if self.inputs is None or self.labels is None or len(self.inputs) != len(self.labels) or not len(self.labels):
            raise ValueError(
                "MixedSource mixes labelled rows of the source in, and has none: give inputs, and a label for each"
            )
        return MixedSourceState(self, model, self.inputs, self.labels)


class MixedSourceState(DrawingState):
    def __init__(self, player: MixedSource, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        super().__init__(player.seed)
        self.player, self.model, self.inputs, self.labels = player, model, inputs, labels

    def look(self, seen: Seen) -> None:
        if not seen.logits.requires_grad:
            return
        came = seen.inputs
        if not isinstance(came, Tensor) or came.shape[1:] != self.inputs.shape[1:]:
            raise LossError(
                f"MixedSource mixes rows {tuple(self.inputs.shape[1:])} of the source with those that come, and these are "
                f"{tuple(came.shape[1:]) if isinstance(came, Tensor) else type(came).__name__}: give both alike, as one tensor"
            )
        drawn = torch.randint(len(self.inputs), (len(came),), generator=self.random)
        source, labels = self.inputs[drawn].to(came), self.labels[drawn].to(came.device)
        nearest = (answer(self.model, source).softmax(1) @ seen.logits.detach().softmax(1).mT).argmax(1)
        mixed = self.player.mix(source, came[nearest])
        with torch.enable_grad():
            output = run_batch(self.model, mixed)
        seen.target = Seen(mixed, output, logits_of(output), labels)
