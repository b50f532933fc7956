"""Which adapters are alike, and which belong together: tasks grouped by nothing but what was learned for them.

    s_ij = <D_i, D_j> / (||D_i|| ||D_j||)        D: the updates of an adapter at all its sites; <B A, B' A'> = <B^T B', A A'^T>

Groups are those of k-means over the unit vectors D / ||D||, of which only s is needed: the sum of s between an adapter and a
group says how near it is. The first centres are adapters far from each other, so that nothing is drawn.

Ostapenko, Su, Ponti, Charlin, Le Roux, Caccia, Sordoni, "Towards Modular LLMs by Building and Reusing a Library of LoRAs",
2024 (model-based clustering; there k-means is over the factors after a reduction of their dimensions).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.compose.combination.adapters import updates
from acclimate.compose.combination.update import inner
from acclimate.engine import Adapter, MethodError

__all__ = ["groups", "likeness"]


@torch.no_grad()
def likeness(adapters: Sequence[Adapter]) -> Tensor:
    """The cosine between the updates of each two adapters, (adapters, adapters); a site that one lacks is no update there.

    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = torch.nn.Linear(4, 4)
    >>> one, two = (attach(model, LoRA(rank=1), at="weight", name=name) for name in ("one", "two"))
    >>> for parameter in one.parameters() + two.parameters():
    ...     _ = torch.nn.init.ones_(parameter)
    >>> likeness([one, two])
    tensor([[1., 1.],
            [1., 1.]])
    """
    products = torch.zeros(len(adapters), len(adapters), dtype=torch.float64)
    found = [updates(adapter) for adapter in adapters]
    for i, one in enumerate(found):
        for j, two in enumerate(found[: i + 1]):
            products[i, j] = sum(float(inner(one[key], two[key])) for key in one.keys() & two.keys())
            products[j, i] = products[i, j]
    lengths = products.diagonal().sqrt().clamp(min=1e-30)
    return (products / torch.outer(lengths, lengths)).float()


def groups(likeness: Tensor, count: int) -> list[int]:
    """The group of each adapter, numbered by first appearance.

    >>> groups(torch.tensor([[1.0, 0.1, 0.9], [0.1, 1.0, 0.0], [0.9, 0.0, 1.0]]), 2)
    [0, 1, 0]
    """
    if not 1 <= count <= len(likeness):
        raise MethodError(f"{count} groups cannot be made of {len(likeness)} adapters: ask for at most one for each")
    centres = [int(likeness.sum(1).argmin())]
    while len(centres) < count:
        nearest = likeness[:, centres].max(1).values
        nearest[centres] = torch.inf
        centres.append(int(nearest.argmin()))
    of = likeness[:, centres].argmax(1)
    for _ in range(100):
        member = torch.nn.functional.one_hot(of, count).to(likeness)
        sizes = member.sum(0).clamp(min=1)
        within = (member.mT @ likeness @ member).diagonal() / sizes.square()  # the squared length of each mean
        distance = within - 2 * (likeness @ member) / sizes
        moved = torch.where(member.sum(0) > 0, distance, torch.inf).argmin(1)
        if torch.equal(moved, of):
            break
        of = moved
    order = list(dict.fromkeys(of.tolist()))
    return [order.index(each) for each in of.tolist()]
