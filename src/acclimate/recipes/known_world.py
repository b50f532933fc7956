"""The digits under conditions that are known: labelled images of each, and a judge that was taught to tell them by their pixels.

The severity of what is known is 0.4; streams come harder, so that the judge meets what it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from acclimate.bench.conditions import CONDITIONS
from acclimate.bench.convnet import accuracy, pretrained
from acclimate.bench.digits import digits
from acclimate.data import Batches, generator
from acclimate.engine import attach
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy, DomainExpertInformation, Routed
from acclimate.methods import Full
from acclimate.methods.domain_experts import Routing
from acclimate.methods.given import given
from acclimate.methods.judged import Judged
from acclimate.recipes.recipe import Sentence
from acclimate.rules import Gradient

__all__ = ["SHIFTED", "WORLD", "World", "held", "information", "known_world", "scores"]

WORLD = ("clean", "noise", "contrast", "rotation")
SHIFTED = WORLD[1:]


@dataclass(frozen=True)
class World:
    """100 labelled images of each condition at severity 0.4, and a judge that was taught on them to tell the conditions."""

    known: Mapping[str, Batches]
    judge: nn.Module

    def judged(self) -> Judged:
        return Judged(pretrained(), self.judge).eval()

    def taught(self, made: Sentence, seed: int) -> tuple[Judged, dict[str, Tensor]]:
        """The network after a sentence, and what it learned."""
        model = self.judged()
        adapter = attach(model, dict(made.method), name="warm", seed=seed)
        fit(model, self.known, made.loss, made.loop, made.rule, seed=seed, progress=False)
        return model.eval(), {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}


def known_world(seed: int) -> World:
    images, labels = digits("train")
    drawn, known = generator(seed, 7), {}
    for name in WORLD:
        rows = torch.randperm(len(images), generator=drawn)[:100]
        known[name] = (CONDITIONS[name](images[rows], 0.4, drawn), labels[rows])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second = (nn.Conv2d(into, wide, 3, padding=1) for into, wide in ((1, 8), (8, 16)))
        layers = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        judge = nn.Sequential(*layers, nn.Linear(16, len(WORLD)))
    adapter = attach(judge, Full(), at="all", name="judge")
    shown = torch.cat([each for each, _ in known.values()])
    of = torch.arange(len(WORLD)).repeat_interleave(100)
    rule = Gradient(lr=3e-2, optimiser="adam")
    fit(judge, Batches(shown, of, 50, seed), CrossEntropy(), finetune(epochs=12), rule, seed=seed, progress=False)
    adapter.merge(keep=False)
    return World({name: Batches(*each, 25, seed) for name, each in known.items()}, judge.eval())


def held(condition: str, severity: float, seed: int) -> tuple[Tensor, Tensor]:
    """Half of the held-out digits."""
    images, labels = digits("test")
    return CONDITIONS[condition](images[::2], severity, generator(seed, 9)), labels[::2]


def scores(model: nn.Module, severity: float, seed: int) -> dict[str, float]:
    """Accuracies in percent."""
    return {name: 100 * accuracy(model, *held(name, severity, seed)) for name in WORLD}


@torch.no_grad()
def information(model: nn.Module, severity: float, seed: int) -> float:
    """Nats that conditions and the experts that their rows pass have in common, the mean over sites."""
    sites: list[list[Tensor]] = []
    for name in WORLD:
        routes: list[Routing] = []
        with given(routes=routes):
            model(held(name, severity, seed)[0])
        sites.append([each.chosen for each in routes])
    chosen = [torch.cat(each) for each in zip(*sites, strict=True)]
    domain = torch.arange(len(WORLD)).repeat_interleave(len(chosen[0]) // len(WORLD))
    return -float(DomainExpertInformation()(Routed(None, None, chosen[0], domain=domain, shares=chosen)))
