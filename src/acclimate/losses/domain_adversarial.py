"""Features from which no network can tell the domain.

    mean_source - log d(R(h))  +  mean_target - log(1 - d(R(h)))        R(h) = h,  dR/dh = - strength I
    strength = 2 / (1 + exp(-10 progress)) - 1

The discriminator d descends this loss and, through the reversed gradient R, the features climb it. At progress 0 the
strength is 0: at first only d learns.

Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky, "Domain-Adversarial Training of Neural
Networks", 2016; Ajakan, Germain, Larochelle, Laviolette, Marchand, "Domain-Adversarial Neural Networks", 2014.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.losses.discriminator import Discriminator
from acclimate.losses.loss import Loss, LossError, Seen
from acclimate.losses.need import feature_pair

__all__ = ["DomainAdversarial", "ramp", "reverse"]


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float = 1.0) -> Tensor:
    """``x``, with a gradient of ``-strength`` times what comes back.

    >>> x = torch.ones(2, requires_grad=True)
    >>> reverse(x, 0.5).sum().backward()
    >>> x.grad
    tensor([-0.5000, -0.5000])
    """
    reversed_: Tensor = _Reverse.apply(x, strength)  # type: ignore[no-untyped-call]
    return reversed_


def ramp(progress: float) -> float:
    """From 0 at the start of a run to nearly 1 at its end.

    >>> ramp(0.0), round(ramp(1.0), 4)
    (0.0, 0.9999)
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


class DomainAdversarial(Loss):
    """On features ``at`` a site, with a discriminator of ``width`` that `players` makes and the loop trains along.

    >>> sorted(DomainAdversarial().wants())
    ['features:penultimate', 'target']
    """

    at: str = "penultimate"
    width: int = 256

    needs: ClassVar[frozenset[str]] = frozenset({"target"})

    def __post_init__(self) -> None:
        if self.width < 1:
            raise LossError(f"DomainAdversarial(width={self.width}) cannot work: width must be at least 1")

    @property
    def player(self) -> str:
        """The name of its discriminator among the players."""
        return f"discriminator@{self.at}"

    def wants(self) -> frozenset[str]:
        return self.needs | {f"features:{self.at}"}

    def players(self, seen: Seen) -> dict[str, nn.Module]:
        source, _ = feature_pair(self, seen, self.at)
        return {self.player: Discriminator(source.shape[1], self.width).to(source)}

    def __call__(self, seen: Seen) -> Tensor:
        source, target = feature_pair(self, seen, self.at)
        if self.player not in seen.players:
            raise LossError(
                f"DomainAdversarial needs the player {self.player!r}: make it once with loss.players(seen), "
                "and train it with the model"
            )
        tell, strength = seen.players[self.player], ramp(seen.progress)
        return F.softplus(-tell(reverse(source, strength))).mean() + F.softplus(tell(reverse(target, strength))).mean()
