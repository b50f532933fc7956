"""The source as the other domain of a stream: features that have the mean and covariance that the source's had.

    points: mean + s l_c and mean - s l_c for each channel c,    L L^T = covariance,  s = sqrt((2 channels - 1) / 2)

Their mean and covariance (over rows - 1) are those that `KeptMoments` kept, so that a loss between two domains which reads no more
than moments, `CORAL` or `MomentDistance`, sees in them all of the source. The stream's own side of such a loss is longer than a
batch: features ``at`` the site are followed by those of the last ``queue`` rows, which have no gradient.

Liu, Kothari, van Delft, Bellot-Gurlet, Mordan, Alahi, "TTT++: When Does Self-Supervised Test-Time Training Fail or Thrive?", 2021
(online moment matching, with a queue for small batches). There a distance counts in units of what
it is between batches of the source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import adapters
from acclimate.losses import LossError, Seen
from acclimate.methods.kept_moments import KeptMoments
from acclimate.players.player import Player, PlayerState

__all__ = ["AgainstSource", "with_moments"]


def with_moments(mean: Tensor, covariance: Tensor) -> Tensor:
    """Rows (2 channels, channels) that have a mean (channels,) and a covariance (channels, channels).

    >>> with_moments(torch.tensor([3.0]), torch.tensor([[2.0]])).sort(0).values
    tensor([[2.],
            [4.]])
    """
    values, vectors = torch.linalg.eigh(covariance.double())
    root = vectors * values.clamp_min(0).sqrt()  # (channels, channels): a column for each direction
    away = root.mT * (len(mean) - 0.5) ** 0.5
    return torch.cat([mean + away, mean - away]).to(mean)


class AgainstSource(Player):
    """Gives ``seen.target``, the source. ``queue`` rows are remembered; ``at`` is where the moments are kept, and the loss looks.

    >>> sorted(AgainstSource().gives)
    ['features', 'target']
    """

    queue: int = 256
    at: str = "penultimate"

    gives: ClassVar[frozenset[str]] = frozenset({"features", "target"})

    def __post_init__(self) -> None:
        if self.queue < 0:
            raise ValueError(f"AgainstSource(queue={self.queue}) cannot work: it is a number of rows, 0 for none")

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> AgainstSourceState:
        enabled = [adapter for adapter in adapters(model).values() if adapter.enabled]
        kept = [m for adapter in enabled for _, m in adapter.modules() if isinstance(m.method, KeptMoments)]
        if not kept:
            raise ValueError(
                f"AgainstSource compares with moments of the source, and no enabled adapter of this {type(model).__name__} keeps "
                "any: attach KeptMoments with data of the source, or load it"
            )
        return AgainstSourceState(self, with_moments(kept[-1].get_buffer("mean"), kept[-1].get_buffer("covariance")))


class AgainstSourceState(PlayerState):
    held: Tensor  # (rows, channels), the oldest first
    next: Tensor

    def __init__(self, player: AgainstSource, source: Tensor) -> None:
        self.player, self.source = player, source
        self.reset()

    def look(self, seen: Seen) -> None:
        own = seen.features.get(self.player.at)
        if own is None:
            raise LossError(
                f"AgainstSource compares features at {self.player.at!r}, and the loop records none there: teach with a loss that "
                f"needs features:{self.player.at} (MomentDistance)"
            )
        self.next = own.detach().flatten(1)
        before = self.held.to(own).reshape(-1, self.next.shape[1])
        seen.features = {**seen.features, self.player.at: torch.cat([own.flatten(1), before])}
        empty = self.source.new_zeros(len(self.source), 0)
        seen.target = Seen(None, empty, empty, features={self.player.at: self.source.to(own)})

    def learn(self) -> None:
        if len(self.next) and self.player.queue:
            self.held = torch.cat([self.held.to(self.next).reshape(-1, self.next.shape[1]), self.next])
            self.held = self.held[-self.player.queue :]
        self.next = torch.empty(0, 0)

    def tensors(self) -> dict[str, Tensor]:
        return {"held": self.held.clone()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        self.held, self.next = tensors["held"].clone(), torch.empty(0, 0)

    def reset(self) -> None:
        self.held = torch.empty(0, 0)
        self.next = torch.empty(0, 0)
