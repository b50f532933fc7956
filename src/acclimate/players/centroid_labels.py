"""Labels for data that has none: each row gets the class whose centroid its features are nearest to.

    c_k = sum_i p_ik f_i / |.|,    y_i = argmax_k cos(f_i, c_k),    then again with p = onehot(y)

over the whole target set, at the start of each epoch. Classes that no row is predicted as have no centroid.

Liang, Hu, Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain
Adaptation", 2020 (SHOT): InformationMaximisation() + 0.3 * CrossEntropy() beside this player.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.losses import LossError, Seen
from acclimate.players.player import Player, PlayerState

__all__ = ["CentroidLabels", "nearest_centroid"]


def nearest_centroid(features: Tensor, logits: Tensor, rounds: int = 2) -> Tensor:
    """Labels (rows,) for features (rows, channels) and logits (rows, classes); the first of ``rounds`` is soft.

    >>> nearest_centroid(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.eye(3)[[0, 2, 2]])
    tensor([0, 0, 2])
    """
    unit = F.normalize(features.flatten(1), dim=1)
    classes = logits.shape[1]
    share, counted = logits.softmax(1).to(unit), logits.argmax(1)
    present = torch.ones(classes, dtype=torch.bool, device=logits.device)
    for _ in range(rounds):
        present = present & (counted.bincount(minlength=classes) > 0)
        centroids = F.normalize(share.T @ unit, dim=1)  # (classes, channels)
        counted = (unit @ centroids.T).masked_fill(~present, -torch.inf).argmax(1)
        share = F.one_hot(counted, classes).to(unit)
    return counted


class CentroidLabels(Player):
    """Gives ``seen.labels`` by the rows' numbers, from features ``at`` a site.

    >>> CentroidLabels().taps
    ('penultimate',)
    """

    at: str = "penultimate"
    rounds: int = 2

    gives: ClassVar[frozenset[str]] = frozenset({"labels"})

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"CentroidLabels(rounds={self.rounds}) cannot work: it takes at least one round")

    @property
    def taps(self) -> tuple[str, ...]:
        """The sites whose features the loop has to record for it."""
        return (self.at,)

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> CentroidLabelsState:
        return CentroidLabelsState(self)


class CentroidLabelsState(PlayerState):
    """A table of labels by row number, -1 where there is none."""

    def __init__(self, player: CentroidLabels) -> None:
        self.player = player
        self.table = torch.empty(0, dtype=torch.long)

    @torch.no_grad()
    def survey(self, everything: Callable[[], Seen]) -> None:
        seen = everything()
        features = seen.features.get(self.player.at)
        if features is None or seen.index is None:
            raise LossError(
                f"{self.player} needs the features and the numbers of all rows, and the loop gave "
                f"{'no numbers' if features is not None else 'no features there'}: use a loop that does (source_free)"
            )
        labels, index = nearest_centroid(features, seen.logits, self.player.rounds).cpu(), seen.index.cpu()
        self.table = torch.full((int(index.max()) + 1,), -1).scatter(0, index, labels)

    def look(self, seen: Seen) -> None:
        if seen.index is None:
            raise LossError(f"{self.player} labels rows by their numbers, and the loop gave none: use source_free")
        index = seen.index.cpu()
        known = index < len(self.table)
        if not known.all() or (self.table[index] < 0).any():
            raise LossError(f"{self.player} has not surveyed every row of this batch: survey all data before an epoch")
        seen.labels = self.table[index].to(seen.logits.device)

    def tensors(self) -> dict[str, Tensor]:
        return {"table": self.table.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.table = tensors["table"].clone()

    def reset(self) -> None:
        self.table = self.table.new_empty(0)
