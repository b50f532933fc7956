"""An adapter out of two checkpoints: what a tuned model has and its base has not.

    D = W_tuned - W_base at every weight that differs; with ``rank`` the nearest of that rank, with ``share`` of the least rank
    that keeps this share of D's squared size

Fleshman, Van Durme, "RE-Adapt: Reverse Engineered Adaptation of Large Language Models", 2024 (LoRE: a share).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from acclimate.compose.combination.plain import Combined, plain
from acclimate.compose.combination.update import Update
from acclimate.engine import MethodError
from acclimate.engine.adapter import taken
from acclimate.sites import Site, find

__all__ = ["extract"]


@torch.no_grad()
def extract(
    model: nn.Module,
    tuned: nn.Module | Mapping[str, Tensor],
    name: str = "extracted",
    rank: int | None = None,
    share: float | None = None,
) -> Combined:
    """The difference of a tuned model, or its state, to the base, as an adapter of the base, resident and enabled.

    Biases and vectors are kept whole. ``errors`` say by site what a cut rank leaves out.

    >>> base, tuned = nn.Linear(3, 3), nn.Linear(3, 3)
    >>> adapter = extract(base, tuned)
    >>> torch.allclose(base(torch.eye(3)), tuned(torch.eye(3)), atol=1e-6)
    True
    """
    taken(model, name)
    if rank is not None and share is not None:
        raise MethodError(f"rank={rank} and share={share} both cut: give one of them")
    theirs = tuned.state_dict() if isinstance(tuned, nn.Module) else tuned
    changes = {site.key: Update(whole=_change(site, theirs)) for site in find(model, "weight")}

    def cut(update: Update) -> Update:
        whole = update.dense()
        if min(whole.shape[-2:]) < 2 or (rank is None and share is None):
            return update
        wanted = rank if rank is not None else _least(whole, share or 0.0)
        return update.nearest(min(wanted, *whole.shape[-2:]))

    return plain(model, name, {key: each for key, each in changes.items() if each.dense().any()}, cut)


def _change(site: Site, theirs: Mapping[str, Tensor]) -> Tensor:
    reader = site.readers[0]
    key = f"{reader.path}.{reader.attribute}" if reader.path else reader.attribute
    own = site.value().float()
    if key not in theirs:
        raise MethodError(f"the tuned model has no {key!r}, which the base has: it is of another architecture")
    if tuple(theirs[key].shape) != site.layout.shape:
        found = tuple(theirs[key].shape)
        raise MethodError(f"{key} has the shape {found} in the tuned model and {site.layout.shape} in the base")
    other = site.layout.matrix(theirs[key].to(own))
    return (other if site.part is None else other[slice(*site.part)]) - own


def _least(change: Tensor, share: float) -> int:
    """The least rank that keeps a share of the squared size."""
    energy = torch.linalg.svdvals(change.double()).square()
    energy = energy.flatten(0, -2).sum(0) if energy.dim() > 1 else energy
    return int((energy.cumsum(0) / energy.sum() < share - 1e-12).sum()) + 1
