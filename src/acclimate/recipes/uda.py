"""Labelled source, unlabelled target."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from acclimate.bench import shift
from acclimate.bench.conditions import Pair
from acclimate.bench.convnet import pretrained
from acclimate.loops import domain_pair
from acclimate.losses import CrossEntropy, DomainAdversarial, Seen, ramp
from acclimate.methods import Full
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.shifted import baselines, least_gain, rounded, scores, taught
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["dann"]


@written(
    papers=[
        "Unsupervised Domain Adaptation by Backpropagation",
        "Domain-Adversarial Training of Neural Networks",
    ],
    needs=["source", "target"],
)
def dann(weight: float = 1.0, at: At = "all", lr: float = 1e-3, epochs: int = 6, width: int = 256) -> Sentence:
    """Features from which no discriminator can tell the domain (Ganin and Lempitsky, 2015; Ganin et al., 2016)."""
    loss = CrossEntropy() + weight * DomainAdversarial(width=width)
    return Sentence({Full(): at}, loss, domain_pair(epochs=epochs), Gradient(lr=lr))


@dann.claim
def _beats_source_only(seeds: Sequence[int], on: bool) -> Finding:
    """Norm statistics stay the source's, so that nothing but the features can bring the domains together.

    What falls is the distance of a probe along the domains' means. A ridge probe tells the domains apart after as
    before: the discriminator was not the best there could be, and the features are not free of the domain.
    """
    pairs = [shift.domains(seed) for seed in seeds]
    source_only = dataclasses.replace(dann.sentence, loss=CrossEntropy())
    plain, models = (taught(made, pairs, seeds) for made in (source_only, dann.sentence if on else source_only))
    rows = {**baselines(pairs), "source_only": scores(plain, pairs), "dann": scores(models, pairs)}
    far: dict[str, list[nn.Module]] = {"unadapted": [pretrained()] * len(pairs), "source_only": plain, "dann": models}
    means = {name: _apart(each, pairs, penalty=1e6) for name, each in far.items()}
    ridge = {f"{name}_a_distance_ridge": _apart(each, pairs) for name, each in far.items()}
    wrong = max(_reversal(seed) for seed in seeds)
    return Finding(
        {
            **rounded(rows),
            **{f"{name}_a_distance_means": row for name, row in rounded(means, 2).items()},
            **rounded(ridge, 2),
            "gradient_less_minus_strength_times_plain": wrong,
        },
        "in each seed target accuracy at least 10 points above source-only, and the proxy A-distance of source and "
        "target along their means at least 0.3 below source-only's and the unadapted model's; the gradient on the "
        "features -strength times the plain one, to 1e-12 in float64",
        least_gain(rows, "dann", "source_only") >= 10
        and least_gain(means, "source_only", "dann") >= 0.3
        and least_gain(means, "unadapted", "dann") >= 0.3
        and wrong <= 1e-12,
    )


def _apart(models: Sequence[nn.Module], pairs: Sequence[Pair], penalty: float = 1.0) -> list[float]:
    """The proxy A-distance of each pair's source and target test, to a model's features."""
    return [
        shift.proxy_a_distance(model, pair.source[0], pair.test[0], penalty)
        for model, pair in zip(models, pairs, strict=True)
    ]


def _reversal(seed: int) -> float:
    """How far the gradient on the features is from -strength times that of the discriminator's own loss."""
    random = torch.Generator().manual_seed(seed)
    source, target = (torch.randn(6, 4, generator=random, dtype=torch.float64, requires_grad=True) for _ in "st")
    loss, progress = DomainAdversarial(width=8), 0.1 + 0.2 * seed
    seen = Seen(None, None, source, features={loss.at: source}, progress=progress)
    seen.target = Seen(None, None, target, features={loss.at: target})
    seen.players = loss.players(seen)
    tell = seen.players[loss.player]
    plain = F.softplus(-tell(source)).mean() + F.softplus(tell(target)).mean()
    reversed_, straight = (torch.autograd.grad(value, [source, target]) for value in (loss(seen), plain))
    return max(float((r + ramp(progress) * g).abs().max()) for r, g in zip(reversed_, straight, strict=True))
