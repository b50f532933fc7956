"""A factor on each channel of what goes into a weight.

    W diag(s) x + b        s: (in,), one at first; at a convolution one for each input channel

In a transformer's feed-forward these are the factors that IA3 puts on the intermediate activations: Liu, Tam, Muqeeth, Mohta,
Huang, Bansal, Raffel, "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning", 2022.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from acclimate.engine import AdapterModule, ones
from acclimate.methods.affine import Scale
from acclimate.sites import Site

__all__ = ["InputScale"]


class InputScale(Scale):
    """A factor on each input channel, as `Scale` has one on each output.

    >>> InputScale().describe()
    {'method': 'InputScale'}
    """

    at: ClassVar[str] = "down"

    def fits(self, site: Site) -> bool:
        return super().fits(site) and site.shape[-1] > 1

    def refuses(self, site: Site) -> str:
        return "" if len(site.shape) > 1 and site.shape[-1] > 1 else "needs a matrix with inputs"

    class Module(AdapterModule):
        def build(self, site: Site) -> None:
            stacked = len(site.shape) > 2
            self.taps = 1 if stacked else math.prod(site.layout.shape[2:])  # places of a kernel, side by side
            self.scale = ones((*site.shape[:-2], site.shape[-1] // self.taps), site)  # (in,)

        def weight(self, W: Tensor) -> Tensor:
            return W * self.scale.repeat_interleave(self.taps, -1).unsqueeze(-2)
