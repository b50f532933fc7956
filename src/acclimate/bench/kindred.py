"""Tasks in kinds: tasks of one kind have inputs of one kind, and change one matrix in one direction, each by its own amount.

    y = (W + s_t u_k v_k^T) x        x ~ m_k + N(0, 1), k the kind of task t; all 32 wide; s_t between .4 and 1.6

Five tasks of each of four kinds are there to learn from; each kind has a new one, of another amount, with four rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acclimate.bench.planted import drawn
from acclimate.data import Batches
from acclimate.loops import finetune, fit
from acclimate.losses import MeanSquares
from acclimate.methods.given import Given
from acclimate.rules import Rule

__all__ = ["AMOUNTS", "KINDS", "NEW", "TASKS", "Kindred", "kindred"]

WIDTH, ROWS, SHOTS = 32, 64, 4
KINDS = 4
AMOUNTS = (0.4, 0.7, 1.0, 1.3, 1.6)
TASKS = KINDS * len(AMOUNTS)
NEW = (0.55, 0.85, 1.15, 1.45)
"""The amount of the new task of each kind."""


@dataclass(frozen=True)
class Kindred:
    """The matrix (out, in), the kinds' changes (kinds, out, in) and the means of their inputs (kinds, in), of one seed."""

    seed: int
    base: Tensor
    changes: Tensor
    means: Tensor

    def model(self) -> Given:
        """The base, called with the rows and the number of each row's task; a place in front of it to read the inputs at."""
        plain = nn.Linear(WIDTH, WIDTH, bias=False)
        with torch.no_grad():
            plain.weight.copy_(self.base)
        return Given(nn.Sequential(nn.Identity(), plain), "task")

    def rows(self, kind: int, count: int, draw: int) -> Tensor:
        """Inputs of a kind, (count, 32)."""
        return self.means[kind] + drawn(self.seed + 100 * draw + kind, count, WIDTH)

    def answers(self, x: Tensor, kind: int, amount: float) -> Tensor:
        return x @ (self.base + amount * self.changes[kind]).mT

    def known(self, draw: int = 1) -> dict[int, tuple[Tensor, Tensor]]:
        """Inputs and answers of the known tasks, by number: kind, then amount."""
        found = {}
        for task in range(TASKS):
            kind, amount = divmod(task, len(AMOUNTS))
            x = self.rows(kind, ROWS, draw * TASKS + task)
            found[task] = (x, self.answers(x, kind, AMOUNTS[amount]))
        return found

    def new(self, kind: int, count: int = SHOTS, draw: int = 0) -> tuple[Tensor, Tensor]:
        """Rows of the new task of a kind, and their answers."""
        x = self.rows(kind, count, 1000 + draw)
        return x, self.answers(x, kind, NEW[kind])

    def teach(self, model: Given, rows: list[tuple[int, Tensor, Tensor]], rule: Rule, epochs: int) -> None:
        """Teach what is enabled on (task, inputs, answers)."""
        x, y = torch.cat([x for _, x, _ in rows]), torch.cat([y for _, _, y in rows])
        task = torch.cat([torch.full((len(x),), number) for number, x, _ in rows])
        data = Batches({"input": x, "task": task}, y, 320, seed=self.seed)
        fit(model, data, MeanSquares(), finetune(epochs=epochs), rule, seed=self.seed, check=False, progress=False)

    @torch.no_grad()
    def missing(self, model: Given, x: Tensor, y: Tensor, task: int = 0) -> float:
        """The mean squared error as a share of the base's."""
        return float((model(x, task) - y).square().mean() / (x @ self.base.mT - y).square().mean())


def kindred(seed: int) -> Kindred:
    """The tasks of a seed.

    >>> tasks = kindred(0)
    >>> tasks.missing(tasks.model(), *tasks.new(2))
    1.0
    """
    u, v = drawn(seed + 10, KINDS, WIDTH, 1), drawn(seed + 20, KINDS, 1, WIDTH)
    return Kindred(seed, drawn(seed, WIDTH, WIDTH) / WIDTH**0.5, u @ v / WIDTH**0.5, drawn(seed + 30, KINDS, WIDTH))
