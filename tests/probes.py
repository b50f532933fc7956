"""Methods for the faces and habits that no method of the package has yet: the engine has to carry them as well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, zeros
from acclimate.sites import Kind, Site

__all__ = ["Remember", "Sharpen", "Temper", "Vera"]


class Temper(Method):
    """Queries longer or shorter, a factor a head: ``exp(t) q``."""

    kind: ClassVar[Kind] = "attention"

    class Module(AdapterModule):
        def build(self, site: Site) -> None:
            assert site.heads is not None
            self.log_factor = zeros((site.heads[0], 1, 1), site)

        def queries(self, q: Tensor) -> Tensor:
            return q * self.log_factor.exp().to(q.dtype)


class Sharpen(Method):
    """An attention map moved towards its square, a gate a head: ``A + tanh(g) (A^2 - A)``."""

    kind: ClassVar[Kind] = "attention"

    class Module(AdapterModule):
        def build(self, site: Site) -> None:
            assert site.heads is not None
            self.gate = zeros((site.heads[0], 1, 1), site)

        def attention_map(self, A: Tensor) -> Tensor:
            return A + self.gate.tanh().to(A.dtype) * (A * A - A)


class Vera(Method):
    """A low-rank update with factors that sites of one shape share and a gain of each site's own: ``W + g * (U D)``."""

    rank: int = 2

    def fits(self, site: Site) -> bool:
        return len(site.shape) == 2 and min(site.shape) > 1

    def share(self, sites: Sequence[Site], data: Any = None) -> list[Mapping[str, nn.Parameter]]:
        factors: dict[torch.Size, dict[str, nn.Parameter]] = {}
        for site in sites:
            rows, columns = site.shape
            if site.shape not in factors:
                down = nn.Parameter((torch.randn(self.rank, columns) / math.sqrt(columns)).to(site.device))
                factors[site.shape] = {"down": down, "up": nn.Parameter(torch.randn(rows, self.rank).to(site.device))}
        return [factors[site.shape] for site in sites]

    class Module(AdapterModule):
        def build(self, site: Site) -> None:
            self.gain = zeros((site.shape[0], 1), site)

        def weight(self, W: Tensor) -> Tensor:
            return W + self.gain * (self.up @ self.down)


class Remember(Method):
    """Adds the mean of what it was shown, which is nothing at first: no parameter, and state that grows."""

    kind: ClassVar[Kind] = "call"

    def fits(self, site: Site) -> bool:
        return isinstance(site.module, nn.Linear) and site.callable

    class Module(AdapterModule):
        memory: Tensor

        def build(self, site: Site) -> None:
            self.register_buffer("memory", torch.zeros(0, site.width, device=site.device))
            self.memory.grows = True

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            self.memory = torch.cat([self.memory, y.detach().flatten(0, -2)])

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            return y + self.memory.mean(0).to(y.dtype) if len(self.memory) else y
