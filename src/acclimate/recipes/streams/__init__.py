"""The stream methods of two suites, each a row of independent parts; `docs/streams.md` shows them side by side.

The suites: mariodoebler's `test-time-adaptation`, and Zhao, Liu, Alahi, Lin, "On Pitfalls of Test-Time Adaptation", 2023 (TTAB).
Tent, CoTTA and LAME are in `tta`. The catalogue has no rows for most of these, so the recipes name no papers.
"""

from acclimate.recipes.streams.anchored import cmf, rmt, roid, santa
from acclimate.recipes.streams.contrasted import adacontrast
from acclimate.recipes.streams.filtered import deyo, eata, eta, rdumb, sar
from acclimate.recipes.streams.gathered import adaptive
from acclimate.recipes.streams.remembered import note, rotta
from acclimate.recipes.streams.second_heads import ttt, ttt_plus_plus
from acclimate.recipes.streams.self_taught import conjugate_labels, memo, rpl, shot_online
from acclimate.recipes.streams.statistics import norm_alpha, norm_test, t3a, ttaug
from acclimate.recipes.streams.with_source import gtta

__all__ = [
    "adacontrast", "adaptive", "cmf", "conjugate_labels", "deyo", "eata", "eta", "gtta", "memo", "norm_alpha", "norm_test",
    "note", "rdumb", "rmt", "roid", "rotta", "rpl", "santa", "sar", "shot_online", "t3a", "ttaug", "ttt", "ttt_plus_plus",
]  # fmt: skip
