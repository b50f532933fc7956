"""Which entries of each update are kept: one function a way, found by its name in ``Rule(sparsify=...)``.

magnitude     the largest, a share ``density`` of them                          Yadav et al., "TIES-Merging", 2023
random        each with chance ``density``                                      Yu et al., "Language Models are Super Mario", 2024
breadcrumbs   the largest but for a share ``outliers`` of all                    Davari, Belilovsky, "Model Breadcrumbs", 2024
della         each with chance density -/+ ``spread``, by its rank in its row   Deep, Bhardwaj, Poria, "DELLA-Merging", 2024
variance      where the updates differ most, the same places for all            Wan et al., "FuseChat", 2024 (SCE)
clip          all, cut off at +-``limit``                                       NearSwap, alchemonaut, 2024
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from acclimate.compose.combination.rule import Rule

__all__ = ["WAYS"]

Way = Callable[[Tensor, "Rule", torch.Generator], Tensor]
"""From updates (n, ...) to the same with some entries zero, before they are scaled up again."""


def _largest(values: Tensor, count: int) -> Tensor:
    """A mask of the ``count`` largest of each row of (n, elements)."""
    mask = torch.zeros_like(values, dtype=torch.bool)
    return mask.scatter(-1, values.topk(count, -1, sorted=False).indices, True) if count else mask


def _count(density: float, of: int) -> int:
    """How many a share is; a share above zero is at least one, however small the tensor."""
    return min(of, max(1, round(density * of))) if density > 0 else 0


def magnitude(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    flat = updates.flatten(1)
    return (flat * _largest(flat.abs(), _count(rule.density, flat.shape[1]))).view_as(updates)


def random(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    return updates * (torch.rand(updates.shape, generator=generator) < rule.density)


def breadcrumbs(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    flat = updates.flatten(1)
    size = flat.shape[1]
    kept = _count(rule.density, size)
    top = min(int(rule.outliers * size), size - kept)
    both, out = _largest(flat.abs(), kept + top), _largest(flat.abs(), top)
    return (flat * (both & ~out)).view_as(updates)


def della(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    rows = updates.flatten(1, -2) if updates.dim() > 2 else updates.unsqueeze(1)  # (n, rows, width)
    width = rows.shape[-1]
    place = rows.abs().argsort(-1).argsort(-1).float() / max(1, width - 1)
    chance = (rule.density - rule.spread + 2 * rule.spread * place).clamp(0, 1)
    return (rows * (torch.rand(rows.shape, generator=generator) < chance)).view_as(updates)


def variance(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    spread = updates.var(0, correction=0).flatten()
    mask = _largest(spread.unsqueeze(0), _count(rule.density, int(spread.count_nonzero())))
    return updates * mask.view_as(updates[0])


def clip(updates: Tensor, rule: Rule, generator: torch.Generator) -> Tensor:
    return updates.clamp(-rule.limit, rule.limit)


WAYS: dict[str, Way] = {way.__name__: way for way in (magnitude, random, breadcrumbs, della, variance, clip)}
