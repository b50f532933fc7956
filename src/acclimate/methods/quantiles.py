"""Quantiles that do not cross and cover what they say: sorted, then widened by what held-out rows ask for.

    q <- sort(q);    q_k <- q_k - w_k,   q_{n-1-k} <- q_{n-1-k} + w_k        for each pair k < n / 2 of levels p, 1 - p
    w_k = the ceil((m + 1)(1 - 2 p)) / m quantile of max(q_k - y, y - q_{n-1-k}) over m held-out rows

A sorted vector is no further from any sorted one, and the pinball loss is no larger. With w learned from rows that are
exchangeable with those to come, a pair covers at least 1 - 2 p of them.

Chernozhukov, Fernández-Val, Galichon, "Quantile and Probability Curves Without Crossing", 2010. Romano, Patterson,
Candès, "Conformalized Quantile Regression", 2019. Both as in Fakoor, Kim, Mueller, Smola, Tibshirani, "Flexible Model
Aggregation for Quantile Regression", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from acclimate.engine import Adapter, AdapterModule, Method, MethodError
from acclimate.sites import Kind, Site

__all__ = ["Quantiles", "conformal"]


class Quantiles(Method):
    """At the model, or at its head: outputs (rows, levels) are sorted. `conformal` says how far they are to be widened.

    >>> import acclimate as acc
    >>> model = torch.nn.Linear(1, 3)
    >>> adapter = acc.attach(model, Quantiles(), at="")
    >>> y = model(torch.ones(2, 1))
    >>> bool((y.diff(dim=-1) >= 0).all())
    True
    """

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    exceptions = {"identity": "it has no parameters: attached, it sorts"}

    def refuses(self, site: Site) -> str:
        return "" if site.layout.channel in (None, -1) else "sorts the last axis of an output, where its levels lie"

    def fits(self, site: Site) -> bool:
        return False

    class Module(AdapterModule):
        method: Quantiles
        wider: Tensor  # (outputs,)

        def build(self, site: Site) -> None:
            self.register_buffer("wider", torch.zeros(site.width, device=site.device))

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            return y.sort(-1).values + self.wider.to(y.dtype)


@torch.no_grad()
def conformal(adapter: Adapter, levels: Sequence[float], outputs: Tensor, labels: Tensor) -> None:
    """Set how far each pair is widened, from the adapted model's outputs (rows, levels) on rows nothing was trained on."""
    found = [module for _, module in adapter.modules() if isinstance(module, Quantiles.Module)]
    pairs = len(levels) // 2
    if len(found) != 1 or any(abs(levels[k] + levels[-1 - k] - 1) > 1e-6 for k in range(pairs)):
        raise MethodError(
            f"conformal widens the one Quantiles of an adapter, at levels in pairs p and 1 - p, not {levels}"
        )
    wider, rows = found[0].wider, len(labels)
    for k in range(pairs):
        score = torch.maximum(outputs[:, k] - labels, labels - outputs[:, -1 - k]).sort().values
        rank = math.ceil((rows + 1) * (levels[-1 - k] - levels[k]) - 1e-9)
        if rank > rows:
            raise MethodError(f"{rows} rows are too few to cover {levels[-1 - k] - levels[k]:g}: give at least {rank}")
        wider[k] -= score[rank - 1]
        wider[-1 - k] += score[rank - 1]
