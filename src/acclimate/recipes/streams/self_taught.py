"""Rows that differ in the loss: marginal entropy, robust and conjugate labels, information."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from acclimate.bench import shift
from acclimate.bench.convnet import pretrained
from acclimate.bench.streaming import streamed
from acclimate.loops import Adaptation, stream
from acclimate.losses import (
    ConjugateLabel,
    Entropy,
    GeneralisedCrossEntropy,
    InformationMaximisation,
    MarginalEntropy,
    PseudoLabel,
)
from acclimate.losses.probability import entropy
from acclimate.methods import BatchStatistics, Full
from acclimate.players import Every, Views
from acclimate.players.augment import Augmentation, ImageAugmentation
from acclimate.recipes.recipe import Finding, written
from acclimate.recipes.sfda import below_head
from acclimate.recipes.streams.parts import adam, at_norms, brief, gains, without
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["conjugate_labels", "memo", "rpl", "shot_online"]


@written(papers=[], needs=["stream"])
def memo(
    lr: float = 2.5e-4,
    views: int = 8,
    augmentations: tuple[Augmentation, ...] = (ImageAugmentation(),),
    blend: float = 1 / 17,
) -> Adaptation:
    """All weights by the entropy of the mean over views, each batch by itself (Zhang et al., 2022)."""
    method = {BatchStatistics(blend=blend): "all", Full(): "all"}
    rule = Gradient(lr=lr, optimiser="sgd", schedule="constant", warmup=0, clip=None)
    return Adaptation(method, MarginalEntropy(), rule, (Views(augmentations, views), Every(1)), answer="after")


@memo.claim
def _each_batch_by_itself_and_more_decided(seeds: Sequence[int], on: bool) -> Finding:
    """What was before a batch does not count, to the bit; the answers after the step are surer than those before it."""
    made = memo.using(views=4, augmentations=(ImageAugmentation(shift=0),)).adaptation
    made = made if on else without(made, Every)
    alone, surer = [], []
    for seed in seeds:
        first, second = (moment.images for moment in brief("shuffled", seed)[:2])
        with stream(pretrained(), made, guard=False, seed=seed) as live:
            after, again, other = live(first), live(second), live(first)
        with stream(pretrained(), dataclasses.replace(made, answer="before"), guard=False, seed=seed) as live:
            before = live(first)
        alone.append(bool((after - other).abs().max() == 0) and not torch.equal(after, again))
        surer.append(float(entropy(before).mean() - entropy(after).mean()))
    return Finding(
        {"the_same_whatever_came_before": alone, "entropy_lost_in_the_step": [round(each, 4) for each in surer]},
        "in each seed a batch is answered the same whatever came before, to the bit, and surer after the step than before it",
        all(alone) and all(each > 0 for each in surer),
        "a gain in accuracy was looked for and not seen: with a view of noise alone the network grows sure of its errors",
    )


@written(papers=[], needs=["stream"])
def rpl(lr: float = 1e-3, q: float = 0.8, blend: float = 1.0) -> Adaptation:
    """Norms taught the model's own labels, those it disbelieves less (Rusak et al., 2022)."""
    return Adaptation(at_norms(blend), GeneralisedCrossEntropy(q=q), adam(lr))


@rpl.claim
def _surer_than_statistics(seeds: Sequence[int], on: bool) -> Finding:
    return gains("rpl", rpl.using(lr=1e-2).adaptation, shift.STATISTICS, seeds, on, surer=0.95)


@written(papers=[], needs=["stream"])
def conjugate_labels(lr: float = 1e-3, epsilon: float = 0.0, blend: float = 1.0) -> Adaptation:
    """Norms taught the label that the training loss asks for by itself (Goyal et al., 2022); 0 for cross-entropy."""
    return Adaptation(at_norms(blend), ConjugateLabel(epsilon), adam(lr))


@conjugate_labels.claim
def _surer_and_as_entropy(seeds: Sequence[int], on: bool) -> Finding:
    """For a network that cross-entropy trained the method is Tent, up to the last places."""
    made = conjugate_labels.using(lr=1e-2).adaptation
    found = gains("conjugate_labels", made, shift.STATISTICS, seeds, on, surer=0.95)
    apart = [
        _apart(made if on else shift.STATISTICS, dataclasses.replace(made, loss=Entropy()), seed) for seed in seeds
    ]
    return dataclasses.replace(
        found,
        measured={**found.measured, "logits_apart_from_tent": apart},
        required=f"{found.required}; logits within 1e-2 of Tent's over 6 batches",
        passed=found.passed and max(apart) <= 1e-2,
    )


def _apart(one: Adaptation, other: Adaptation, seed: int) -> float:
    answers = [streamed(each, brief("shuffled", seed)[:6], seed)[0] for each in (one, other)]
    return float((answers[0] - answers[1]).abs().max())


@written(papers=[], needs=["stream"])
def shot_online(lr: float = 1e-3, beta: float = 0.3, at: At = below_head, blend: float = 1.0) -> Adaptation:
    """Information of the batch and the model's own labels, all but the classifier (Liang et al., 2020)."""
    method = {BatchStatistics(blend=blend): "all", Full(): at}
    return Adaptation(method, InformationMaximisation() + beta * PseudoLabel(), adam(lr))


@shot_online.claim
def _surer_and_no_worse_than_statistics(seeds: Sequence[int], on: bool) -> Finding:
    note = "labels are the model's own, for a stream gives players no features to take centroids of"
    return gains(
        "shot_online",
        shot_online.using(lr=3e-3).adaptation,
        shift.STATISTICS,
        seeds,
        on,
        surer=0.9,
        over_off=-1,
        note=note,
    )
