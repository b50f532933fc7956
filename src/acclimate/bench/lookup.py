"""Looking a key up among others that resemble it: one attention, taught with few distractors and then asked with many.

A row has items, a key and a value of eight each, and a query that is one item's key in noise. The answer is the value of
that item. Taught where three others lie about, the network is then adapted to, and asked with, thirty.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.data import Batches
from acclimate.engine import Method, attach
from acclimate.loops import evaluate, finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Full
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["Found", "Lookup", "items", "looked_up"]

KEY, VALUES, WIDTH = 12, 8, 32
NOISE = 0.25


def items(rows: int, others: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The query and then the items (rows, 1 + items, KEY + VALUES), the answers (rows,), and where they stand (rows,).

    >>> [tuple(t.shape) for t in items(5, 3)]
    [(5, 5, 20), (5,), (5,)]
    """
    drawn = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(rows, 1 + others, KEY, generator=drawn), dim=-1)
    values = torch.randint(0, VALUES, (rows, 1 + others), generator=drawn)
    golden = torch.randint(0, 1 + others, (rows,), generator=drawn)
    asked = keys[torch.arange(rows), golden]
    query = asked + NOISE * torch.randn(rows, KEY, generator=drawn)
    first = F.pad(query, (0, VALUES)).unsqueeze(1)
    return (
        torch.cat([first, torch.cat([keys, F.one_hot(values, VALUES).float()], -1)], 1),
        values[torch.arange(rows), golden],
        golden,
    )


class Lookup(nn.Module):
    """One head: the query against the keys, and what the attention gathers from the values to logits.

    >>> Lookup()(items(5, 3)[0]).shape
    torch.Size([5, 8])
    """

    acclimate_attention = (1, 1, WIDTH)

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(KEY, WIDTH), nn.Linear(KEY, WIDTH)
        self.value, self.out = nn.Linear(VALUES, WIDTH), nn.Linear(WIDTH, VALUES)

    def forward(self, x: Tensor, gather: bool = True) -> Tensor:
        """Logits, or the attention on each item, (rows, items), where nothing is gathered."""
        q, k = self.query(x[:, :1, :KEY]), self.key(x[:, 1:, :KEY])
        v = self.value(x[:, 1:, KEY:]) if gather else torch.eye(k.shape[1]).expand(len(x), -1, -1)
        y = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0, 0]
        answer: Tensor = self.out(y) if gather else y
        return answer


@functools.cache
def _pretrained() -> Lookup:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Lookup()
    adapter = attach(model, Full(), at="all")
    x, labels, _ = items(2000, 3)
    fit(
        model,
        Batches(x, labels, 64),
        CrossEntropy(),
        finetune(epochs=15),
        Gradient(lr=5e-3),
        check=False,
        progress=False,
    )
    adapter.merge(keep=False)
    return model.eval()


@dataclass(frozen=True)
class Found:
    """Accuracy in percent among thirty distractors, the share of attention on the key that answers, what was trained."""

    accuracy: float
    golden: float
    parameters: int


def looked_up(method: Mapping[Method, At], seed: int, epochs: int = 10, lr: float = 3e-3) -> Found:
    """Adapt to thirty distractors; {} is the network as it came. Attention counts by its size, were it negative."""
    model, count = copy.deepcopy(_pretrained()), 0
    if method:
        adapter = attach(model, dict(method), seed=seed)
        x, labels, _ = items(1000, 30, seed=10 + seed)
        rule = Gradient(lr=lr)
        data = Batches(x, labels, 64, seed=seed)
        fit(model, data, CrossEntropy(), finetune(epochs=epochs), rule, seed=seed, check=False, progress=False)
        count = sum(p.numel() for p in adapter.parameters())
    x, labels, place = items(1000, 30, seed=1000)
    accuracy = evaluate(model, (x, labels)).accuracy
    assert accuracy is not None
    with torch.no_grad():
        attention = model.eval()(x, gather=False).abs()
    share = attention[torch.arange(len(x)), place] / attention.sum(-1)
    return Found(100 * accuracy, float(share.mean()), count)
