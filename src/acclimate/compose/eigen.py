"""Adapters that are there, as the subspace that a new one lives in.

    V, U = the largest left and right directions of  [A_1; ...; A_n]  and  [B_1, ..., B_n]

An adapter that was among them is given back by its coefficients; with as many components as the adapters span, exactly.

Kaushik, Vaidya, Chaudhari, Yuille, "EigenLoRAx: Recycling Adapters to Find Principal Subspaces for Resource-Efficient
Adaptation and Inference", 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.engine import Adapter, MethodError, adapters, attach
from acclimate.methods import EigenLoRA

__all__ = ["recycled", "reproduce"]

Factors = tuple[Tensor, Tensor]


def recycled(
    model: nn.Module, names: Sequence[str], rank: int = 8, components: int = 16, name: str = "recycled", seed: int = 0
) -> Adapter:
    """A new adapter on the principal subspaces of others, at the sites of the first; the others are disabled.

    >>> import acclimate as acc
    >>> model = nn.Linear(8, 8)
    >>> for given in "ab":
    ...     _ = acc.attach(model, acc.LoRA(rank=2), at="weight", name=given)
    >>> [p.numel() for p in recycled(model, "ab", rank=1, components=4).parameters()]
    [4, 4]
    """
    given = [_factors(adapters(model)[each]) for each in names]
    sites = list(given[0])
    if odd := [each for each, found in zip(names, given, strict=True) if list(found) != sites]:
        raise MethodError(f"the adapter {odd[0]!r} is at other sites than {names[0]!r}: recycle those at the same ones")
    made = attach(model, EigenLoRA(rank=rank, components=components), sites, name, seed=seed)
    with torch.no_grad():
        for key, module in made.modules():
            into, out = module.get_buffer("into"), module.get_buffer("out")
            downs = torch.cat([found[key][0] for found in given])
            ups = torch.cat([found[key][1].mT for found in given])
            _principal(downs, into, key)
            _principal(ups, out.mT, key)
    for each in names:
        adapters(model)[each].disable()
    return made


@torch.no_grad()
def reproduce(adapter: Adapter, name: str) -> Adapter:
    """Set the coefficients to those of another adapter of at most the same rank: what of it lies in the subspaces."""
    for key, (down, up) in _factors(adapters(adapter.model)[name]).items():
        module: Any = dict(adapter.modules())[key]
        if len(down) > len(module.down):
            raise MethodError(
                f"{name!r} has rank {len(down)} at {key}, and {adapter.name!r} {len(module.down)}: give it more"
            )
        module.down.zero_()
        module.up.zero_()
        module.down[: len(down)] = down @ module.into.mT
        module.up[:, : len(down)] = module.out.mT @ up
    return adapter


def _principal(rows: Tensor, basis: Tensor, key: str) -> None:
    """Write the largest right singular directions of rows (many, width) into a basis (components, width)."""
    found = torch.linalg.svd(rows.double(), full_matrices=False)[2]
    if len(found) < len(basis):
        raise MethodError(
            f"the adapters have {len(found)} directions at {key}, fewer than components={len(basis)}: give fewer"
        )
    basis.copy_(found[: len(basis)])


def _factors(adapter: Adapter) -> dict[str, Factors]:
    found: dict[str, Factors] = {}
    for key, module in adapter.modules():
        factors = module.factors()
        if factors is None or key in found:
            raise MethodError(f"{module.method} at {key} is no single product of two factors, so it has no subspaces")
        found[key] = factors[0].detach(), factors[1].detach()
    return found
