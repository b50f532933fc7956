"""What features were on average where the model comes from: their mean and covariance, kept beside the layer that they enter.

    mean = mean_i x_i,    covariance = sum_i (x_i - mean)(x_i - mean)^T / (n - 1)

It looks at the batch that is given to `attach`, once, and changes nothing; what it keeps is saved with the adapter. So a model that
is sent elsewhere takes along how its features lay, and no row of them (`AgainstSource` reads it).

Liu, Kothari, van Delft, Bellot-Gurlet, Mordan, Alahi, "TTT++: When Does Self-Supervised Test-Time Training Fail or Thrive?", 2021
(offline feature summarisation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, MethodError
from acclimate.engine.glimpse import Glimpse
from acclimate.sites import Kind, Site

__all__ = ["KeptMoments"]


class KeptMoments(Method):
    """At a linear layer, by default the head; give `attach` a batch of the source as ``data``.

    >>> KeptMoments().looks
    True
    """

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        if not isinstance(site.module, nn.Linear):
            raise MethodError(
                f"KeptMoments keeps what enters a linear layer, and {site.key} is a {site.type}: name one"
            )

    @property
    def looks(self) -> bool:
        return True

    def make(self, sites: Sequence[Site], look: Glimpse | None) -> list[AdapterModule]:
        made = super().make(sites, look)
        if look is not None:
            with torch.no_grad():
                for module, x in zip(made, look.inputs(sites), strict=True):
                    mean = x.mean(0)
                    module.get_buffer("mean").copy_(mean)
                    module.get_buffer("covariance").copy_((x - mean).mT @ (x - mean) / max(1, len(x) - 1))
        return made

    class Module(AdapterModule):
        method: KeptMoments
        mean: Tensor  # (channels,)
        covariance: Tensor  # (channels, channels)

        def build(self, site: Site) -> None:
            assert isinstance(site.module, nn.Linear)
            channels = site.module.in_features
            self.register_buffer("mean", torch.zeros(channels, device=site.device))
            self.register_buffer("covariance", torch.zeros(channels, channels, device=site.device))

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            return y
