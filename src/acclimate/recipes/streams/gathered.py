"""One row for any order of a stream, in which nothing is learned by a gradient and nothing is to be tuned.

Its parts were chosen on digits, and on ResNet-20 under four corruptions. Then, on spoken words under noise and loudness (800 rows,
batches of 50, accuracy in percent, mean of seeds 0 to 2; `acclimate bench streams` has the network):

classes       unadapted   batch statistics   tent   lame   rotta   adaptive
mixed         27.3        41.6               41.5   18.9   27.5    41.8
correlated    27.3        27.5               27.1   25.6   27.9    37.7
gradual       44.2        55.1               55.2   34.7   47.3    54.7
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
