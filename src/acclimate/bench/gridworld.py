"""A field of 13 by 13 cells with a reward in the far corner alone, and skills that a policy has learned there before.

The policy reads its row and its column (26 numbers, two of them one) and gives logits for four moves. A skill is an adapter
of it that was taught to go one way wherever it is; it is used for six moves at a time. An episode is at most 48 moves.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.data import Batches
from acclimate.engine import adapters, attach, rows
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import Full
from acclimate.rules import Gradient

__all__ = ["MOVES", "SITE", "Learned", "learn", "play", "skilled"]

SIDE, EPISODE, HELD = 13, 48, 6
GOAL = torch.tensor([12, 12])
MOVES = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
SITE = "0.weight"

Act = Callable[[Tensor], Tensor]
"""From what is seen, (rows, 26), to the number of a move, (rows,)."""


def seen(at: Tensor) -> Tensor:
    """Rows and columns as the policy reads them.

    >>> seen(torch.tensor([[0, 12]])).nonzero()[:, 1].tolist()
    [0, 25]
    """
    return torch.cat([F.one_hot(at[:, 0], SIDE), F.one_hot(at[:, 1], SIDE)], 1).float()


def policy() -> nn.Sequential:
    """A policy that has learned nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2 * SIDE, 32), nn.Tanh(), nn.Linear(32, len(MOVES))).eval()


@functools.cache
def _taught() -> nn.Sequential:
    model = policy()
    cells = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE))
    for number, name in enumerate(MOVES):
        attach(model, Full(), at=SITE, name=name)
        data = Batches(seen(cells), torch.full((len(cells),), number), 64, seed=0)
        rule = Gradient(lr=1e-2)
        fit(model, data, CrossEntropy(), finetune(epochs=15), rule, seed=0, check=False, progress=False)
        adapters(model)[name].disable()
    return model


def skilled() -> nn.Sequential:
    """The policy with an adapter for each way to go, disabled.

    >>> from acclimate.engine import only
    >>> model = skilled()
    >>> with only(model, "left"), torch.no_grad():
    ...     model(seen(torch.tensor([[3, 4]]))).argmax().item() == list(MOVES).index("left")
    True
    """
    return copy.deepcopy(_taught())


@dataclass(frozen=True)
class Learned:
    """Moves that were made until nine of ten episodes ended at the goal, and whether they did within the budget."""

    moves: int
    solved: bool


@torch.no_grad()
def play(act: Callable[[int, Tensor], Tensor], episodes: int) -> tuple[Tensor, int]:
    """When each episode reached the goal, (episodes,), inf where it did not, and the moves made. ``act(time, seen)``."""
    at = torch.zeros(episodes, 2, dtype=torch.long)
    reached = torch.full((episodes,), torch.inf)
    steps, made = torch.tensor(list(MOVES.values())), 0
    for time in range(EPISODE):
        going = reached.isinf()
        if not going.any():
            break
        made += int(going.sum())
        moved = (at + steps[act(time, seen(at))]).clamp(0, SIDE - 1)
        at = torch.where(going[:, None], moved, at)
        reached = torch.where(going & (at == GOAL).all(1), float(time + 1), reached)
    return reached, made


def learn(
    scores: Callable[[Tensor], Tensor], parameters: Sequence[nn.Parameter], model: nn.Module | None, seed: int,
    budget: int = 40_000, episodes: int = 32,
) -> Learned:  # fmt: skip
    """REINFORCE over choices, whose logits ``scores`` gives: of a skill of ``model`` for six moves, or without one of a move."""
    names = list(MOVES)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(parameters, lr=0.1)
    total = 0
    while total < budget:
        taken: list[tuple[Tensor, Tensor]] = []

        def act(time: int, x: Tensor, taken: list[tuple[Tensor, Tensor]] = taken) -> Tensor:
            if model is None or time % HELD == 0:
                shares = scores(x).softmax(-1)
                taken.append((x, torch.multinomial(shares, 1, generator=generator).squeeze(1)))
            choice = taken[-1][1]
            if model is None:
                return choice
            with rows(model, [names[number] for number in choice.tolist()]):
                return model(x).argmax(-1)

        reached, made = play(act, episodes)
        total += made
        if float((~reached.isinf()).double().mean()) >= 0.9:
            return Learned(total, True)
        gained = torch.where(reached.isinf(), 0.0, 0.97**reached)
        gained = gained - gained.mean()
        hold = HELD if model is not None else 1
        with torch.enable_grad():
            loss = torch.zeros(())
            for number, (x, choice) in enumerate(taken):
                chance = scores(x).log_softmax(-1).gather(1, choice[:, None]).squeeze(1)
                loss = loss - (chance * gained * (reached > number * hold)).sum() / episodes
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return Learned(total, False)
