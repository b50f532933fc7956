"""A factor, and an offset, on each channel of what a weight puts out.

    Scale:   s * (W x + b)            s: (out,), one at first
    Affine:  s * (W x + b) + t        t: (out,), zero at first

Lian, Zhou, Feng, Wang, "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning", 2022;
at norm layers, the parameters that Tent trains (Wang, Shelhamer, Liu, Olshausen, Darrell, "Tent: Fully
Test-Time Adaptation by Entropy Minimization", 2021).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from acclimate.engine import AdapterModule, Method, ones, zeros
from acclimate.sites import Site

__all__ = ["Affine", "Scale"]


class Scale(Method):
    """A factor on each channel.

    >>> Scale().describe()
    {'method': 'Scale'}
    """

    learning_rate: ClassVar[float] = 1e-2

    def fits(self, site: Site) -> bool:
        return not _is_bias(site) and len(site.shape) == 2

    class Module(AdapterModule):
        broadcasts = True
        through: ClassVar[Literal["project", "scale"]] = "scale"

        def build(self, site: Site) -> None:
            self.scale = ones(site.shape[:-1], site)  # (out,)

        def weight(self, W: Tensor) -> Tensor:
            return W * self.scale.unsqueeze(-1)

        def bias(self, b: Tensor | None) -> Tensor | None:
            return None if b is None else b * self.scale.reshape(b.shape)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            return (y * self.layout.channels(self.scale, y)).to(y.dtype)


class Affine(Scale):
    """A factor on each channel, and an offset where the module has a bias (an RMS norm has none).

    >>> Affine().at
    'norm'
    """

    at: ClassVar[str] = "norm"
    learning_rate: ClassVar[float] = 1e-3

    class Module(Scale.Module):
        def build(self, site: Site) -> None:
            super().build(site)
            self.shift = zeros(site.shape[:-1], site) if site.biased else None  # (out,)

        def bias(self, b: Tensor | None) -> Tensor | None:
            scaled = super().bias(b)
            if self.shift is None:
                return scaled
            return self.shift if scaled is None else scaled + self.shift.reshape(scaled.shape)

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            scaled = super().output(x, y)
            return scaled if self.shift is None else (scaled + self.layout.channels(self.shift, y)).to(y.dtype)


def _is_bias(site: Site) -> bool:
    return all("bias" in reader.attribute for reader in site.readers)
