"""What follows on an inventory of skills that several tasks made (`acclimate.methods.Poly`).

    new_tasks    the same skills for tasks that are new: only how they are mixed is learned       MHR-z
    averaged     one low-rank adapter whose factors are the means of the skills' factors          MHR-mu
    hardened     the same skills and scores, each task on those with a score of at least 1/2

Caccia, Ponti, Su, Pereira, Le Roux, Sordoni, "Multi-Head Adapter Routing for Cross-Task Generalization", 2023.
Yu, Zhang, Qian et al., "Master-ASR: Achieving Multilingual Scalability and Low-Resource Adaptation in ASR with Modular
Learning", 2023 (``hardened``, there by a temperature that falls).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from acclimate.engine import Adapter, MethodError, attach
from acclimate.engine.registry import Part
from acclimate.methods import LoRA, Poly

__all__ = ["averaged", "hardened", "new_tasks"]


def new_tasks(adapter: Adapter, tasks: int = 1, name: str = "few") -> Adapter:
    """An adapter with the same skills, all mixed alike at first, of which only the routing is trained.

    >>> import acclimate as acc
    >>> model = torch.nn.Linear(4, 4)
    >>> pool = acc.attach(model, Poly(rank=1, skills=3, tasks=10), at="weight", name="pool")
    >>> [p.numel() for p in new_tasks(pool).parameters()]
    [3]
    """
    return _again(adapter, name, ("down", "up"), tasks=tasks, learns="routing")


def hardened(adapter: Adapter, name: str = "hard") -> Adapter:
    """The same with ``hard``: it answers otherwise until it is trained on.

    >>> import acclimate as acc
    >>> model = torch.nn.Linear(4, 4)
    >>> hardened(acc.attach(model, Poly(rank=1), at="weight", name="pool")).parts[0].method
    Poly(rank=1, hard=True)
    """
    return _again(adapter, name, ("down", "up", "logits"), hard=True)


def averaged(adapter: Adapter, name: str = "mean") -> Adapter:
    """A plain low-rank adapter: what the skills are when each counts alike.

    >>> import acclimate as acc
    >>> model = torch.nn.Linear(4, 4)
    >>> averaged(acc.attach(model, Poly(rank=2), at="weight", name="pool")).parts[0].method
    LoRA(rank=2)
    """
    part, own = _inventory(adapter)
    plain = LoRA(rank=own.rank, alpha=own.alpha, stable=own.stable, dropout=own.dropout)
    made = attach(adapter.model, plain, list(part.keys), name)
    held, fresh = adapter.tensors(), made.tensors()
    with torch.no_grad():
        for role, tensor in fresh.items():
            axis = -2 if role.endswith("/down") else -1
            skills = held[role].detach().chunk(own.skills, axis)
            tensor.copy_(torch.stack(skills).mean(0))
    adapter.disable()
    return made


def _again(adapter: Adapter, name: str, kept: Sequence[str], **settings: Any) -> Adapter:
    """The adapter once more with other settings, and some of its values; the first is disabled."""
    part, own = _inventory(adapter)
    made = attach(adapter.model, dataclasses.replace(own, **settings), list(part.keys), name)
    held = adapter.tensors()
    with torch.no_grad():
        for place, tensor in made.tensors().items():
            if place.rpartition("/")[2] in kept:
                tensor.copy_(held[place])
    adapter.disable()
    return made


def _inventory(adapter: Adapter) -> tuple[Part, Poly]:
    if len(adapter.parts) != 1 or not isinstance(adapter.parts[0].method, Poly):
        found = ", ".join(str(part.method) for part in adapter.parts)
        raise MethodError(f"the adapter {adapter.name!r} is {found}, and not one inventory of skills: give one of Poly")
    return adapter.parts[0], adapter.parts[0].method
