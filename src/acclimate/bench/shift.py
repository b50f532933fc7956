"""What claims about domains and streams are measured on: the digits, after the world has changed.

The pretrained digits network is right 3 times in 10 on the pair (low contrast, then noise), and statistics of the batch
alone bring it to 8 in 10. So everything here can be set beside both. Accuracies are in percent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from acclimate.bench.conditions import Moment, Order, Pair, Stream, shifted_pair
from acclimate.bench.convnet import accuracy, pretrained
from acclimate.bench.digits import digits
from acclimate.data import Batches
from acclimate.engine import Method, attach
from acclimate.loops import Adaptation, Loop, fit
from acclimate.loops.evaluate import evaluating
from acclimate.loops.taps import tapped
from acclimate.losses import Loss
from acclimate.methods import BatchStatistics
from acclimate.players import Player
from acclimate.rules import Rule
from acclimate.sites import At

__all__ = [
    "STATISTICS", "domains", "percent", "proxy_a_distance", "rounds", "score", "skewed", "still", "taught",
    "with_statistics", "world",
]  # fmt: skip

STATISTICS = Adaptation({BatchStatistics(): "all"})
"""Statistics of the batch and nothing that learns: the baseline of whatever learns on top of them."""


def domains(seed: int) -> Pair:
    """Clean digits, and other digits in low contrast with noise; the noise is the seed's."""
    return shifted_pair({"contrast": 0.35, "noise": 0.4}, seed)


def still(condition: str, severity: float, seed: int) -> Pair:
    """All 600 held-out digits under one condition: adapted on, and then scored on, without their labels."""
    images, labels = next(iter(_under((condition,), "shuffled", severity, 600, seed)))[1:]
    return Pair(digits("train"), (images, labels), (images, labels))


def skewed(pair: Pair, shares: Sequence[float], rows: int = 150) -> Pair:
    """The pair with its classes in other proportions, in the target and its test: of ``rows``, each as there are.

    >>> skewed(domains(0), [0.28] + [0.08] * 9).target[1].bincount()[:2]
    tensor([39, 12])
    """

    def chosen(data: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = data
        of_class = [
            (labels == number).nonzero().flatten()[: round(share * rows)] for number, share in enumerate(shares)
        ]
        kept = torch.cat(of_class).sort().values
        return images[kept], labels[kept]

    return dataclasses.replace(pair, target=chosen(pair.target), test=chosen(pair.test))


def world(order: Order, seed: int, severity: float = 0.5, size: int = 50) -> list[Moment]:
    """A stream through every condition, in batches of 50."""
    return list(Stream(*digits("test"), order, severity, size, seed))


def rounds(conditions: tuple[str, ...], times: int, seed: int, severity: float = 0.5, size: int = 50) -> list[Moment]:
    """The same few conditions again and again, each round in an order of its own."""
    each = (_under(conditions, "shuffled", severity, size, times * seed + number) for number in range(times))
    return list(chain.from_iterable(each))


def _under(conditions: tuple[str, ...], order: Order, severity: float, size: int, seed: int) -> Stream:
    return Stream(*digits("test"), order, severity, size, seed, conditions)


def taught(
    pair: Pair,
    method: Mapping[Method, At],
    loss: Loss,
    loop: Loop,
    rule: Rule,
    players: Sequence[Player] = (),
    seed: int = 0,
    size: int = 64,
) -> nn.Module:
    """The digits network after a run on the pair, in evaluation mode."""
    model = pretrained()
    attach(model, method, name="taught", seed=seed)
    parts = {"source": pair.source, "target": pair.target}
    data = {name: Batches(images, labels, size, seed) for name, (images, labels) in parts.items() if name in loop.data}
    fit(model, data, loss, loop, rule, players, seed=seed, progress=False)
    return model


def with_statistics() -> nn.Module:
    """The digits network with the statistics of each batch it sees, and nothing learned."""
    model = pretrained()
    attach(model, STATISTICS.method, name="statistics")
    return model


def score(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Accuracy in percent, on all rows as one batch."""
    with evaluating(model):
        return 100 * accuracy(model, *data)


def percent(logits: Tensor, labels: Tensor) -> float:
    """Accuracy in percent."""
    return 100 * float((logits.argmax(1) == labels).double().mean())


def proxy_a_distance(model: nn.Module, one: Tensor, other: Tensor, penalty: float = 1.0) -> float:
    """How well a linear probe tells two domains by their penultimate features: 2 (1 - 2 error).

    0 where it guesses, 2 where it is always right; below 0 where it does worse than guessing. The probe is a ridge
    regression to -1 and 1, solved on the even rows and judged on the odd ones, of which each domain has as many. The
    larger its ``penalty``, the nearer it is to the difference of the domains' means.

    Ben-David, Blitzer, Crammer, Kulesza, Pereira, Vaughan, "A theory of learning from different domains", 2010.

    >>> clean = digits("test")[0]
    >>> round(proxy_a_distance(pretrained(), clean, 1 - clean), 1)
    2.0
    """
    rows = min(len(one), len(other))
    with tapped(model, ["penultimate"]) as taps, evaluating(model):
        features = []
        for images in (one, other):
            model(images[:rows])
            features.append(taps.take()["penultimate"].double())
    sides = torch.stack(features)  # (domains, rows, channels)
    train, test = (sides[:, start::2] for start in (0, 1))
    flat = train.flatten(0, 1)
    mean, deviation = flat.mean(0), flat.std(0) + 1e-6
    x = (flat - mean) / deviation
    y = torch.tensor([-1.0, 1.0], dtype=x.dtype).repeat_interleave(train.shape[1])
    probe = torch.linalg.solve(x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    says = ((test - mean) / deviation @ probe) > 0
    error = torch.cat([says[0], ~says[1]]).double().mean()
    return float(2 * (1 - 2 * error))
