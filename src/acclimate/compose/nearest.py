"""A gate that nothing trains: each token goes to the adapters whose prototypes it is nearest to.

    y + sum_i g_i (a_i(y) - y)        g = softmax(s / t), with ``top`` = k only the k largest
    centroid    s_i = cos(h, c_i)          c_i: the mean of what goes in over the data of adapter i
    arrow       s_i = |<v_i, h>| / ||h||   v_i: the direction that the update of adapter i answers to most

v_i is the first right singular vector of B A, from a QR decomposition of B and the small R A. Belofsky, "Token-Level
Adaptation of LoRA Adapters for Downstream Task Generalization", 2023. Ostapenko, Su, Ponti, Charlin, Le Roux, Caccia, Sordoni,
"Towards Modular LLMs by Building and Reusing a Library of LoRAs", 2024 (there the product is not divided by the norm).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from acclimate.compose.node import Mixed
from acclimate.compose.reading import features, width
from acclimate.compose.route import largest
from acclimate.compose.tree import Composition
from acclimate.engine import Adapter, MethodError, only, positive
from acclimate.engine.glimpse import Glimpse
from acclimate.sites import Site, find

__all__ = ["Nearest", "learn_prototypes", "principal"]


class Nearest(Composition, init=False):
    """``by="arrow"`` reads the prototypes from the adapters; for ``"centroid"`` call `learn_prototypes`.

    >>> Nearest("a", "b", top=1).by
    'arrow'
    """

    by: Literal["arrow", "centroid"] = "arrow"
    top: int | None = None
    grain: Literal["token", "row"] = "token"
    temperature: float = 0.1

    def __post_init__(self) -> None:
        positive(self, temperature=self.temperature)
        if self.by not in ("arrow", "centroid") or self.grain not in ("token", "row"):
            raise MethodError(f"by={self.by!r}, grain={self.grain!r}: give 'arrow' or 'centroid', and 'token' or 'row'")
        if self.top is not None and not 1 <= self.top <= len(self.children):
            raise MethodError(f"top={self.top} cannot work: it lies between 1 and the {len(self.children)} children")

    def refuses(self, site: Site) -> str:
        readable = site.kind == "weight" and site.layout.rowwise
        return "" if readable else "reads the inputs of linear layers"

    class Module(Mixed):
        method: Nearest
        steady = False
        prototypes: Tensor

        def build(self, site: Site) -> None:
            self.width = width(site)
            self.register_buffer("prototypes", torch.zeros(self.count, self.width, device=site.device))

        def ready(self) -> None:
            if self.method.by == "arrow":
                for index, member in enumerate(self.members):
                    self.prototypes[index] = 0 if member is None else principal(member)

        def gates(self, x: Tensor, y: Tensor) -> Tensor:
            h = F.normalize(features(x, y, self.width, self.method.grain == "row").float(), dim=-1)
            scores = F.linear(h, F.normalize(self.prototypes.float(), dim=-1))
            scores = scores.abs() if self.method.by == "arrow" else scores
            return largest((scores / self.method.temperature).softmax(-1), self.method.top)


def principal(member: Any) -> Tensor:
    """The unit input (in,) that a low-rank update answers to most, without its product."""
    factors = member.factors()
    if factors is None:
        raise MethodError(
            f"arrow reads the directions of low-rank updates, and {member.method} is none: use by='centroid'"
        )
    down, up = factors
    inner = torch.linalg.qr(up.double()).R @ down.double()
    return torch.linalg.svd(inner, full_matrices=False).Vh[0].to(down.dtype)


def learn_prototypes(adapter: Adapter, data: Mapping[str, Any]) -> None:
    """Set the centroids of an adapter's `Nearest` nodes: the mean input of each site over each child's own batch."""
    sites = {site.key: site for site in find(adapter.model, "weight")}
    found = [(sites[key], inner) for key, module in adapter.modules() for inner in module.modules()]
    nodes = [(site, node) for site, node in found if isinstance(node, Nearest.Module) and node.method.by == "centroid"]
    if not nodes:
        raise MethodError(
            f"the adapter {adapter.name!r} has no Nearest(by='centroid') whose prototypes could be learned"
        )
    for name, batch in data.items():
        with only(adapter.model):
            seen = Glimpse(adapter.model, batch).inputs([site for site, _ in nodes])
        for (_, node), x in zip(nodes, seen, strict=True):
            names = [str(child) for child in node.method.children]
            if name not in names:
                raise MethodError(f"{node.method} has no child {name!r}: it has {', '.join(names)}")
            node.prototypes[names.index(name)] = x.mean(0).to(node.prototypes)
