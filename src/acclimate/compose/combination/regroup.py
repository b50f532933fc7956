"""Low-rank adapters taken apart into their ranks, and put together from the groups that the ranks form.

    unit j of a product B A: (a_j, b_j), scaled so that ||a_j|| = ||b_j||
    k groups by k-means over [a; b];   update = sum_c n_c s_c b_c a_c^T        a_c, b_c: the means of group c, of n_c units

s_c brings the mean unit, which is shorter than its members, to their mean size. With as many groups as units it is the sum of the
adapters. Zhao, Shen, Zhu, Li, Su, Wang, Kuang, Wu, "Merging LoRAs like Playing LEGO: Pushing the Modularity of LoRA to Extremes
Through Rank-Wise Clustering", 2024; what the paper does about the variance of outputs is left to ``scale``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.compose.combination.adapters import updates
from acclimate.compose.combination.plain import Combined, plain
from acclimate.compose.combination.update import Update, total
from acclimate.engine import Adapter, MethodError
from acclimate.engine.adapter import taken

__all__ = ["grouped", "regroup"]


@torch.no_grad()
def regroup(
    adapters: Sequence[Adapter], rank: int, name: str = "regrouped", scale: float | None = None, seed: int = 0
) -> Combined:
    """One LoRA of so many groups a site out of low-rank adapters. ``scale``: 1 adds them, None takes their mean."""
    if not adapters or rank < 1:
        raise MethodError(f"{len(adapters)} adapters cannot be regrouped into {rank} ranks: give some of both")
    model = adapters[0].model
    taken(model, name)
    found = [updates(adapter) for adapter in adapters]
    share = 1 / len(adapters) if scale is None else scale
    made: dict[str, Update] = {}
    for key in dict.fromkeys(key for each in found for key in each):
        present = [each[key] for each in found if key in each]
        if any(each.whole is not None for each in present):
            raise MethodError(f"what the adapters do at {key} is no product of thin factors: combine them instead")
        made[key] = grouped(total(present, [share] * len(present)), rank, seed)
    done = plain(model, name, made)
    for adapter in adapters:
        adapter.disable()
    return done


def grouped(update: Update, rank: int, seed: int = 0) -> Update:
    """The update of so many groups of its ranks; with no fewer groups than ranks, itself.

    >>> two = Update(down=torch.ones(2, 3), up=torch.ones(4, 2))
    >>> torch.allclose(grouped(two, 1).dense(), two.dense())
    True
    """
    from scipy.cluster.vq import kmeans2

    down, up = update.factors
    if rank >= down.shape[0]:
        return update
    sizes = down.norm(dim=1), up.norm(dim=0)
    even = (sizes[1] / sizes[0].clamp_min(1e-30)).sqrt().unsqueeze(1)
    units = _facing(torch.cat([down * even, up.mT / even.clamp_min(1e-30)], 1))  # (units, in + out)
    _, whose = kmeans2(units.double().numpy(), rank, minit="++", seed=seed)
    groups = [units[torch.from_numpy(whose == group)] for group in range(rank) if (whose == group).any()]
    centres = torch.stack([len(each) ** 0.5 * _sized(each) for each in groups])
    wide = down.shape[1]
    return Update(down=centres[:, :wide].contiguous(), up=centres[:, wide:].mT.contiguous())


def _facing(units: Tensor) -> Tensor:
    """(a, b) and (-a, -b) are the same unit: each is turned to where the largest of all is not far from it."""
    first = units[units.norm(dim=1).argmax()]
    return torch.where((units @ first < 0).unsqueeze(1), -units, units)


def _sized(group: Tensor) -> Tensor:
    """The mean of a group, as long as its members are on average."""
    centre = group.mean(0)
    return centre * (group.norm(dim=1).mean() / centre.norm().clamp_min(1e-30))
