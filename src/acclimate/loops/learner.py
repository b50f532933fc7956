"""What learns on a stream: an adapter's parameters, by a rule, beside players; kept, brought back and reset whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from acclimate.engine import Adapter
from acclimate.engine.batch import take
from acclimate.loops.adaptation import Adaptation
from acclimate.loops.signs import distance
from acclimate.losses import Seen

__all__ = ["Learner", "Snapshot"]

_ENDLESS = 2**31


@dataclass(frozen=True)
class Snapshot:
    """All of a learner at one moment."""

    updates: int
    tensors: dict[str, Tensor]


class Learner:
    """An adaptation at work on a model's adapter."""

    def __init__(self, model: nn.Module, adapter: Adapter, adaptation: Adaptation, seed: int) -> None:
        self.model, self.adapter, self.adaptation, self.seed = model, adapter, adaptation, seed
        self.named = adapter.rated()
        self.modules: list[nn.Module] = [module for _, module in adapter.modules()]
        self.parameters = [parameter for _, parameter, _ in self.named]
        self.first = [parameter.detach().clone() for parameter in self.parameters]
        self.beginning = {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}
        self.begin()

    def begin(self) -> None:
        """At the start: parameters, optimiser and players as they were before the first row."""
        self._put(self.beginning)
        plain = [(name, parameter) for name, parameter, _ in self.named]
        self.updates = 0
        rule = self.adaptation.rule
        self.rule = None if rule is None or not self.named else rule.begin(self.named, _ENDLESS, self.seed)
        self.players = [player.begin(self.model, plain) for player in self.adaptation.players]

    @property
    def learns(self) -> bool:
        return self.rule is not None

    @property
    def moved(self) -> float:
        """How far the parameters are from the start, as a root mean square."""
        return distance(self.parameters, self.first)

    @property
    def finite(self) -> bool:
        return all(bool(parameter.isfinite().all()) for parameter in self.parameters)

    @property
    def start(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.parameters, self.first, strict=True))

    def update(self, see: Callable[[], Seen], first: Seen) -> float:
        """The steps on one batch. ``first`` is a forward that was made already; ``see`` makes the next ones."""
        assert self.rule is not None
        ready: list[Seen] = [first]
        value = 0.0
        for _ in range(self.adaptation.steps):
            value = self.rule.step(lambda: self._loss(ready.pop() if ready else see()))
            for player in self.players:
                player.learn()
            self.updates += 1
        for parameter in self.parameters:
            parameter.grad = None
        return value

    def _loss(self, seen: Seen) -> Tensor:
        """The loss on the rows that the filter lets through; zero where it lets none."""
        assert self.adaptation.loss is not None
        if self.adaptation.filter is None:
            return self.adaptation.loss(seen)
        chosen = self.adaptation.filter(seen)
        return self.adaptation.loss(_rows(seen, chosen)) if bool(chosen.any()) else seen.logits.sum() * 0

    def snapshot(self) -> Snapshot:
        return Snapshot(self.updates, {name: tensor.detach().clone() for name, tensor in self._state().items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Everything as it was, to the bit."""
        self.begin()
        if snapshot.updates == 0:
            return
        self._put(_under("adapter", snapshot.tensors))
        if self.rule is not None:
            self.rule.restore(_under("rule", snapshot.tensors))
        for number, player in enumerate(self.players):
            player.restore(_under(f"player{number}", snapshot.tensors))
        self.updates = snapshot.updates

    def _state(self) -> dict[str, Tensor]:
        parts = {"adapter": self.adapter.tensors(), "rule": {} if self.rule is None else self.rule.tensors()}
        parts |= {f"player{number}": player.tensors() for number, player in enumerate(self.players)}
        return {f"{part}:{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}

    def _put(self, tensors: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.adapter.tensors().items():
                tensor.copy_(tensors[name])


def _under(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.partition(":")[2]: t.clone() for name, t in tensors.items() if name.partition(":")[0] == part}


def _rows(seen: Seen, chosen: Tensor) -> Seen:
    """What was seen of some rows."""
    return replace(
        seen,
        inputs=take(seen.inputs, chosen),
        output=seen.logits[chosen],
        logits=seen.logits[chosen],
        features={at: f[chosen] for at, f in seen.features.items()},
        teacher=None if seen.teacher is None else seen.teacher[chosen],
    )
