"""A kite that steers to the middle of a square, in winds that its policy has never felt.

    p <- p + 0.1 (a(p, h) + w(h))        a: the policy's answer to where it is; w: the wind at its height h; 40 steps

A small policy learned without wind what to do at every place. A skill is what it has to do otherwise in one wind, learned
from demonstrations of that wind at every height. Of several winds each blows at heights of its own, the first the lowest.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach, only
from acclimate.loops import finetune, fit
from acclimate.losses import MeanSquares
from acclimate.methods import Full, LoRA
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["LAYERS", "WINDS", "arrived", "demonstrations", "places", "policy", "skilled"]

WINDS = {"east": (1.2, 0.0), "north": (0.0, 1.2), "west": (-1.2, 0.0)}
LAYERS: At = ("0.weight", "2.weight", "4.weight")
STEPS = 40
NEAR = 0.15


def places(seed: int, count: int = 512) -> Tensor:
    """Where one may be, (count, 3): two coordinates and a height, each from -1 to 1."""
    return 2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) - 1


def blowing(winds: Sequence[str], at: Tensor) -> Tensor:
    """The wind at each place, (rows, 2).

    >>> blowing(["east", "north"], torch.tensor([[0.5, 0.5, -0.9], [0.5, 0.5, 0.1]]))
    tensor([[1.2000, 0.0000],
            [0.0000, 1.2000]])
    """
    if not winds:
        return torch.zeros(len(at), 2)
    level = (at[:, 2] + 1) / 2 * len(winds)
    return torch.tensor([WINDS[wind] for wind in winds])[level.long().clamp(max=len(winds) - 1)]


def demonstrations(winds: Sequence[str], seed: int, count: int = 512) -> tuple[Tensor, Tensor]:
    """Places, and what is to be done there: twice the way to the middle, against the wind."""
    at = places(seed, count)
    return at, -2 * at[:, :2] - blowing(winds, at)


def _taught(model: nn.Module, data: tuple[Tensor, Tensor], seed: int, epochs: int, lr: float) -> None:
    batches = Batches(*data, 64, seed=seed)
    fit(model, batches, MeanSquares(), finetune(epochs=epochs), Gradient(lr=lr), seed=seed, check=False, progress=False)


@functools.cache
def _still() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    adapter = attach(model, Full(), at="all")
    _taught(model, demonstrations((), 0), 0, epochs=60, lr=3e-3)
    adapter.merge(keep=False)
    return model.eval()


def policy() -> nn.Sequential:
    """What it learned without wind.

    >>> arrived(policy(), []) > 95
    True
    """
    return copy.deepcopy(_still())


@functools.cache
def _skill(wind: str, method: Method, seed: int) -> dict[str, Tensor]:
    model = policy()
    adapter = attach(model, method, at=LAYERS, seed=seed)
    _taught(model, demonstrations([wind], seed + 1), seed, epochs=40, lr=1e-2)
    return {key: tensor.detach().clone() for key, tensor in adapter.tensors().items()}


def skilled(winds: Sequence[str], seed: int = 0, method: Method | None = None) -> nn.Sequential:
    """The policy with a skill for each wind, by its name, all of them disabled.

    >>> model = skilled(["north"])
    >>> arrived(model, ["north"]) < 10 and arrived(model, ["north"], "north") > 90
    True
    """
    method = LoRA(rank=4) if method is None else method
    model = policy()
    for wind in winds:
        adapter = attach(model, method, at=LAYERS, name=wind, seed=seed)
        with torch.no_grad():
            for key, tensor in adapter.tensors().items():
                tensor.copy_(_skill(wind, method, seed)[key])
        adapter.disable()
    return model


@torch.no_grad()
def arrived(model: nn.Module, winds: Sequence[str], *adapters: Adapter | str, seed: int = 0) -> float:
    """The share of 256 starts, in percent, that end near the middle."""
    at = places(1000 + seed, 256)
    wind = blowing(winds, at)
    with only(model, *(each if isinstance(each, str) else each.name for each in adapters)):
        for _ in range(STEPS):
            at[:, :2] += 0.1 * (model(at) + wind)
    return 100 * float((at[:, :2].norm(dim=1) < NEAR).double().mean())
