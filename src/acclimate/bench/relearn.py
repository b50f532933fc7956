"""A small network that knows its digits and has to learn them again with their pixels rearranged.

Four layers, 128 units wide, taught scikit-learn's digits; then the pixels of every image change places, by one fixed
permutation. Three layers are of one shape, so that methods can share between them. A run takes a second or two.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from acclimate.bench.digits import Part, digits
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach
from acclimate.loops import Run, evaluate, finetune, fit, predict
from acclimate.losses import CrossEntropy, Loss
from acclimate.methods import Full
from acclimate.players import Player
from acclimate.rules import Gradient, Rule
from acclimate.sites import At

__all__ = ["INNER", "WIDTH", "Relearned", "known", "network", "rearranged", "relearned"]

WIDTH = 128
INNER = ("2.weight", "4.weight", "6.weight")
"""The layers of one shape."""


@functools.cache
def _pretrained() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = (64, WIDTH, WIDTH, WIDTH, WIDTH)
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        model = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    adapter = attach(model, Full(), at="all")
    fit(
        model, Batches(*known("train"), 64), CrossEntropy(), finetune(epochs=15), Gradient(lr=1e-3),
        check=False, progress=False,
    )  # fmt: skip
    adapter.merge(keep=False)
    return model.eval()


def network() -> nn.Sequential:
    """The network as the digits left it.

    >>> evaluate(network(), known("test")).accuracy > 0.8
    True
    """
    return copy.deepcopy(_pretrained())


def known(part: Part) -> tuple[Tensor, Tensor]:
    """Images (rows, 64) as the network knows them, and labels (rows,)."""
    images, labels = digits(part)
    return images.flatten(1), labels


def rearranged(part: Part) -> tuple[Tensor, Tensor]:
    """The same with their pixels in other places."""
    images, labels = known(part)
    return images[:, torch.randperm(64, generator=torch.Generator().manual_seed(0))], labels


@dataclass(frozen=True)
class Relearned:
    """A network after the run, and its cross-entropy in nats on what it learned, what it is asked, and what it knew."""

    model: nn.Module
    adapter: Adapter
    learned: float
    asked: float
    knew: float

    @property
    def accuracy(self) -> float:
        """On held-out rearranged digits, in percent."""
        found = evaluate(self.model, rearranged("test")).accuracy
        assert found is not None
        return 100 * found


def relearned(
    method: Method | Mapping[Method, At],
    seed: int,
    at: At = INNER,
    epochs: int = 20,
    lr: float = 1e-3,
    loss: Loss | None = None,
    data: Tensor | None = None,
    rule: Rule | None = None,
    players: Sequence[Player] = (),
    callbacks: Sequence[Callable[[Run], None]] = (),
) -> Relearned:
    """Teach a method at some of the layers (one mapping says its own) the rearranged digits, by batches of 128."""
    model = network()
    adapter = attach(model, method, None if isinstance(method, Mapping) else at, data=data, seed=seed)
    learn = Batches(*rearranged("train"), 128, seed=seed)
    rule = Gradient(lr=lr) if rule is None else rule
    loss = CrossEntropy() if loss is None else loss
    fit(
        model, learn, loss, finetune(epochs=epochs), rule, players,
        seed=seed, callbacks=callbacks, check=False, progress=False,
    )  # fmt: skip
    sets = rearranged("train"), rearranged("test"), known("test")
    return Relearned(model, adapter, *(_nats(model, each) for each in sets))


def _nats(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    return float(nn.functional.cross_entropy(predict(model, data), data[1]))
