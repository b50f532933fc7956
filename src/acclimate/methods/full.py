"""Every element of a weight free to move, kept as what was added: a task vector.

    W + D        D: the shape of W, zero at first

Kept apart from W, it merges, saves, averages and returns to the start like any other adapter, and weight decay
pulls towards the pretrained weights. Ilharco, Ribeiro, Wortsman, Gururangan, Schmidt, Hajishirzi, Farhadi, "Editing
Models with Task Arithmetic", 2023.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from acclimate.engine import AdapterModule, Method, zeros
from acclimate.sites import Site

__all__ = ["Full"]


class Full(Method):
    """All of a weight. A bias is a site of its own, so ``at="all"`` is full fine-tuning.

    >>> Full().learning_rate
    5e-05
    """

    learning_rate: ClassVar[float] = 5e-5

    class Module(AdapterModule):
        def build(self, site: Site) -> None:
            self.delta = zeros(site.shape, site)

        def weight(self, W: Tensor) -> Tensor:
            return W + self.delta
