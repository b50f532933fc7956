"""A teacher that asks a row's neighbours, and keeps a queue of what it saw, for the model's views to be compared with.

    q_i = features(view(x_i)),  k_i = the teacher's features(another view(x_i)),  each of length 1
    a_i = (q_i . k_i, q_i . m_1, ..., q_i . m_n)      m: the last keys;  - infinity where m_j was labelled as x_i is

Labels are the teacher's most likely classes, soft votes of the nearest rows that it remembers, see `NeighbourTeacher`. The model's
answers to the view are in ``seen.features["views"]`` (rows, 1, classes), a in ``seen.features["contrast"]`` (rows, 1 + n).

Chen, Wang, Darrell, Ebrahimi, "Contrastive Test-Time Adaptation", 2022 (AdaContrast: decay .999, 10 neighbours, a queue of 16,384).
There the model's own features ask the memory, which holds the rows before this batch alone, whatever their classes; here the
teacher's do, and it holds as many of each class, this batch among them. The queue is empty at first, and not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine.batch import run_batch
from acclimate.losses import Seen, logits_of
from acclimate.players.neighbour_teacher import NeighbourTeacher, NeighbourTeacherState

__all__ = ["ContrastingTeacher"]


class ContrastingTeacher(NeighbourTeacher):
    """``queue`` keys are kept, with their labels; ``augmentation`` makes the view and the key's.

    >>> ContrastingTeacher(queue=64).neighbours
    10
    """

    views: int = 1
    neighbours: int = 10
    queue: int = 1024

    gives: ClassVar[frozenset[str]] = frozenset({"teacher", "features"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queue < 1:
            raise ValueError(f"ContrastingTeacher(queue={self.queue}) cannot work: it holds at least 1 key")

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> ContrastingTeacherState:
        asked = super().begin(model, named)
        return ContrastingTeacherState(self, asked, model)


class ContrastingTeacherState(NeighbourTeacherState):
    player: ContrastingTeacher

    def __init__(self, player: ContrastingTeacher, asked: NeighbourTeacherState, model: nn.Module) -> None:
        super().__init__(player, asked.teacher, asked.head)
        self.model = model
        self.keys, self.labels = _nothing()  # the oldest first
        self.next = _nothing()

    def look(self, seen: Seen) -> None:
        super().look(seen)
        if not seen.logits.requires_grad or seen.teacher is None:
            return
        with torch.enable_grad():
            query, said = self._looked(self.player.augmentation(seen.inputs, self.random))
        key = F.normalize(self.seen(self.player.augmentation(seen.inputs, self.random))[0], dim=1)
        labels, held = seen.teacher.argmax(1), self.keys.to(key).reshape(-1, key.shape[1])
        same = labels.unsqueeze(1) == self.labels.to(labels)
        others = (query @ held.T).masked_fill(same, -torch.inf)
        contrast = torch.cat([(query * key).sum(1, keepdim=True), others], 1)
        seen.features = {**seen.features, "views": said.unsqueeze(1), "contrast": contrast}
        self.next = (key, labels)

    def _looked(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """The model's features of length 1, (rows, channels), and logits, with their gradient."""
        entered: list[Tensor] = []
        handle = self.head.register_forward_pre_hook(lambda _, given: entered.append(given[0].flatten(1)))
        try:
            said = logits_of(run_batch(self.model, inputs))
        finally:
            handle.remove()
        return F.normalize(entered[-1], dim=1), said

    def learn(self) -> None:
        super().learn()
        key, labels = self.next
        if len(key):
            self.keys = torch.cat([self.keys.to(key).reshape(-1, key.shape[1]), key])[-self.player.queue :]
            self.labels = torch.cat([self.labels.to(labels), labels])[-self.player.queue :]
        self.next = _nothing()

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "keys": self.keys.clone(), "labels": self.labels.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        super().restore(tensors)
        self.keys, self.labels = tensors["keys"].clone(), tensors["labels"].clone()
        self.next = _nothing()

    def reset(self) -> None:
        super().reset()
        self.keys, self.labels = _nothing()
        self.next = _nothing()


def _nothing() -> tuple[Tensor, Tensor]:
    return torch.empty(0, 0), torch.empty(0, dtype=torch.long)
