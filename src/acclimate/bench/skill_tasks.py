"""Tasks made of common parts: each changes one matrix by two of eight planted skills, each of rank one.

    y = (W + sum_{k in task} u_k v_k^T) x        x, u_k, v_k: drawn, 32 wide

A task is one of the first four skills with one of the last four: thirteen pairs are there to learn from, three are new
and come with a few rows each.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from acclimate.bench.planted import drawn
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach
from acclimate.loops import finetune, fit
from acclimate.losses import MeanSquares
from acclimate.methods.given import Given
from acclimate.rules import Rule

__all__ = ["KNOWN", "NEW", "WIDTH", "Family", "family"]

WIDTH, ROWS = 32, 1248
NEW = ((0, 4), (1, 6), (2, 5))
KNOWN = tuple(pair for pair in product(range(4), range(4, 8)) if pair not in NEW)


@dataclass(frozen=True)
class Family:
    """The base matrix (out, in) and the skills (8, out, in) of one seed."""

    seed: int
    base: Tensor
    skills: Tensor

    def model(self) -> Given:
        """The base, called with the rows and the number of each row's task."""
        plain = nn.Linear(WIDTH, WIDTH, bias=False)
        with torch.no_grad():
            plain.weight.copy_(self.base)
        return Given(nn.Sequential(plain), "task")

    def answers(self, x: Tensor, task: tuple[int, ...]) -> Tensor:
        return x @ (self.base + self.skills[list(task)].sum(0)).mT

    def learned(self, method: Method, rule: Rule, epochs: int = 160) -> tuple[Given, Adapter]:
        """A model taught all known tasks at once."""
        model = self.model()
        adapter = attach(model, method, at="model.0.weight", name="known", seed=self.seed)
        self.more(model, rule, epochs)
        return model, adapter

    def more(self, model: Given, rule: Rule, epochs: int = 60) -> None:
        """Go on with the known tasks."""
        x, task = drawn(self.seed + 50, ROWS, WIDTH), torch.arange(ROWS) % len(KNOWN)
        y = torch.stack([self.answers(x, each) for each in KNOWN])[task, torch.arange(ROWS)]
        self._teach(model, x, task, y, rule, epochs)

    def few(self, model: Given, task: tuple[int, ...], rule: Rule, epochs: int = 80, rows: int = 4) -> None:
        """Teach a new task by a few rows, as task 0."""
        x = drawn(self.seed + 51, rows, WIDTH)
        self._teach(model, x, torch.zeros(rows, dtype=torch.long), self.answers(x, task), rule, epochs)

    def _teach(self, model: Given, x: Tensor, task: Tensor, y: Tensor, rule: Rule, epochs: int) -> None:
        data = Batches({"input": x, "task": task}, y, 312, seed=self.seed)
        fit(model, data, MeanSquares(), finetune(epochs=epochs), rule, seed=self.seed, check=False, progress=False)

    @torch.no_grad()
    def missing(self, model: Given, task: tuple[int, ...], number: int = 0) -> float:
        """The mean squared error on new rows, as a share of the base's."""
        x = drawn(self.seed + 52, 400, WIDTH)
        y = self.answers(x, task)
        return float((model(x, number) - y).square().mean() / (x @ self.base.mT - y).square().mean())


def family(seed: int) -> Family:
    """The tasks of a seed.

    >>> tasks = family(0)
    >>> tasks.missing(tasks.model(), (0, 1))
    1.0
    """
    u, v = drawn(seed + 10, 8, WIDTH, 1), drawn(seed + 20, 8, 1, WIDTH)
    return Family(seed, drawn(seed, WIDTH, WIDTH) / WIDTH**0.5, u @ v / WIDTH**0.5)
