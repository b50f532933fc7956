"""A source model and unlabelled target data. The catalogue has no row for SHOT, so its recipe names no paper:

Liang, Hu, Feng, "Do We Really Need to Access the Source Data? Source Hypothesis Transfer for Unsupervised Domain
Adaptation", 2020.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from acclimate.bench import shift
from acclimate.bench.conditions import Pair
from acclimate.bench.convnet import pretrained
from acclimate.loops import predict, source_free
from acclimate.losses import CrossEntropy, Entropy, InformationMaximisation, PriorEntropy
from acclimate.methods import Full
from acclimate.players import CentroidLabels
from acclimate.recipes.recipe import Finding, Sentence, written
from acclimate.recipes.shifted import baselines, least_gain, rounded, scores, taught
from acclimate.rules import Gradient
from acclimate.sites import At, Site
from acclimate.sites.roles import roles_of

__all__ = ["below_head", "prior", "shot"]


def below_head(site: Site) -> bool:
    """Every weight but the classifier's, and the offsets of norms: ``at=below_head`` keeps the source's hypothesis.

    The biases of other layers stay too, for a bias does not say whether it is the classifier's.
    """
    bias = any("bias" in reader.attribute for reader in site.readers)
    return site.role != "head" and (not bias or roles_of(site.module).get("") == "norm")


@written(papers=[], needs=["target"])
def shot(
    beta: float = 0.3, diversity: float = 1.0, at: At = below_head, lr: float = 1e-3, epochs: int = 15
) -> Sentence:
    """Features moved to where the source's classifier is sure and balanced, by centroid labels (Liang et al., 2020)."""
    loss = InformationMaximisation(diversity=diversity) + beta * CrossEntropy()
    return Sentence({Full(): at}, loss, source_free(epochs=epochs), Gradient(lr=lr), (CentroidLabels(),))


@shot.claim
def _holds_where_entropy_collapses(seeds: Sequence[int], on: bool) -> Finding:
    """Norm statistics stay the source's: those of the batch would do most of the work. The information does it here;
    the centroids' labels, which it is reported without, add nothing on these digits."""
    pairs = [shift.domains(seed) for seed in seeds]
    entropy = dataclasses.replace(shot.sentence, loss=Entropy(), players=())
    information = dataclasses.replace(shot.sentence, loss=InformationMaximisation(), players=())
    sentences = {"entropy_alone": entropy, "information_alone": information, "shot": shot.sentence if on else entropy}
    rows = baselines(pairs) | {name: scores(taught(made, pairs, seeds), pairs) for name, made in sentences.items()}
    return Finding(
        rounded(rows),
        "target accuracy at least 30 points above the unadapted model and above entropy alone, in each seed",
        least_gain(rows, "shot", "unadapted") >= 30 and least_gain(rows, "shot", "entropy_alone") >= 30,
    )


@written(papers=["Source-Free Domain Adaptation for Image Segmentation"], needs=["target"])
def prior(
    shares: tuple[float, ...] = (),
    weight: float = 1.0,
    direction: Literal["mean", "prior"] = "prior",
    at: At = "all",
    lr: float = 1e-3,
    epochs: int = 30,
) -> Sentence:
    """Sure predictions in the proportions that are known beforehand (Bateson et al., 2022); () is equal shares."""
    loss = PriorEntropy(prior=shares, weight=weight, direction=direction)
    return Sentence({Full(): at}, loss, source_free(epochs=epochs), Gradient(lr=lr))


@prior.claim
def _the_prior_prevents_collapse(seeds: Sequence[int], on: bool) -> Finding:
    """Classes 0 to 4 are four times as frequent in the target as classes 5 to 9."""
    pairs = [shift.skewed(shift.domains(seed), [0.16] * 5 + [0.04] * 5) for seed in seeds]
    shares = (pairs[0].target[1].bincount(minlength=10).double() / len(pairs[0].target[1])).tolist()
    entropy = dataclasses.replace(prior.sentence, loss=Entropy())
    informed = prior.using(shares=tuple(shares)).sentence if on else entropy
    rows, away = baselines(pairs), {"unadapted": _away([pretrained()] * len(pairs), pairs, shares)}
    for name, made in {"entropy_alone": entropy, "equal_shares": prior.sentence, "prior": informed}.items():
        models = taught(made, pairs, seeds)
        rows[name], away[name] = scores(models, pairs), _away(models, pairs, shares)
    return Finding(
        {**rounded(rows), **{f"{name}_away_from_prior": row for name, row in rounded(away, 3).items()}},
        "target accuracy at least 30 points above the unadapted model and above entropy alone in each seed; the mean "
        "prediction on the test within 0.2 of the prior in total variation, and at most half as far as unadapted",
        least_gain(rows, "prior", "unadapted") >= 30
        and least_gain(rows, "prior", "entropy_alone") >= 30
        and max(away["prior"]) <= 0.2
        and all(2 * now <= before for now, before in zip(away["prior"], away["unadapted"], strict=True)),
    )


def _away(models: Sequence[nn.Module], pairs: Sequence[Pair], shares: Sequence[float]) -> list[float]:
    """The total variation between the mean prediction on a pair's test and the prior: 0 equal, 1 disjoint."""
    known = torch.tensor(shares)
    means = [predict(model, pair.test).softmax(1).mean(0) for model, pair in zip(models, pairs, strict=True)]
    return [float((mean - known).abs().sum() / 2) for mean in means]
