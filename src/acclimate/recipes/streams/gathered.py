"""One row for any order of a stream, in which nothing is learned by a gradient and nothing is to be tuned.

Its parts were chosen on digits, on ResNet-20 under four corruptions, and on spoken words under noise and loudness. Error in percent
on the other networks of `acclimate bench streams`, mean of seeds 0 to 2, beside the best of its other methods there:

                                unadapted   batch statistics   best other           adaptive
ResNet-56, mixed                54.2        34.6               roid 33.8            35.7
ResNet-56, in runs              65.1        67.5               note 37.3            38.3
ResNet-56, gradual              41.8        26.2               cotta 25.2           26.4
robust ResNet-20, mixed         35.1        26.5               tent 26.0            26.8
robust ResNet-20, in runs       53.9        66.4               note 37.9            23.7
robust ResNet-20, gradual       33.8        24.5               eata 23.8            24.4
"""

from __future__ import annotations

from collections.abc import Sequence

from acclimate.bench import shift
from acclimate.loops import Adaptation
from acclimate.methods import BatchPrior, GatheredStatistics
from acclimate.recipes.recipe import Finding, written
from acclimate.recipes.shifted import least_gain, rounded
from acclimate.recipes.streams.parts import brief, ran

__all__ = ["adaptive"]


@written(papers=[], needs=["stream"])
def adaptive(prior: float = 8.0, most: float = 400.0, smooth: float = 1.0) -> Adaptation:
    """Norms by all rows since conditions changed, answers in the shares of classes that a batch gives evidence of.

    Batches of mixed classes are answered as by their own statistics, and those of few classes much better than by them. A network
    without batch norms has nothing to gather, and is refused.
    """
    return Adaptation({GatheredStatistics(prior=prior, most=most): "all", BatchPrior(smooth=smooth): "head"})


@adaptive.claim
def _good_in_both_orders(seeds: Sequence[int], on: bool) -> Finding:
    """What others have in one order alone. The bounds were chosen with figures of these digits in sight."""
    made, rows = adaptive.adaptation if on else shift.STATISTICS, {}
    for order in ("shuffled", "sorted"):
        streams = [brief(order, seed) for seed in seeds]
        for name, way in {"unadapted": None, "batch_statistics": shift.STATISTICS, "adaptive": made}.items():
            found = [ran(way, moments, seed) for moments, seed in zip(streams, seeds, strict=True)]
            rows[f"{order}_{name}"] = [each.accuracy for each in found]
    return Finding(
        rounded(rows),
        "in each seed, where classes are mixed at most 1 point below batch statistics, and where they are sorted at least 20 "
        "points above them and above the unadapted model",
        least_gain(rows, "shuffled_adaptive", "shuffled_batch_statistics") >= -1
        and least_gain(rows, "sorted_adaptive", "sorted_batch_statistics") >= 20
        and least_gain(rows, "sorted_adaptive", "sorted_unadapted") >= 20,
    )
