"""How updates of one matrix become one: independent choices, of which every named way of merging is a point.

    kept   = rescale(sparsify(update_i))            which entries of each
    w      = weigh(<kept_i, kept_j>)                 how much each counts; "fisher": each entry, by how much it matters
    agree  = elect(w_i kept_i)                       which entries follow the sign that most of the weight, or most of them, have
    update = scale * sum_i agree_i w_i kept_i  [/ sum_i agree_i w_i, where ``normalise``]

``align="basis"`` does this to the coordinates in the singular basis that the updates share, so that entries mean the same in
all (Stoica, Ramesh, Ecsedi, Choshen, Hoffman, "Model merging with SVD to tie the Knots", 2024). Ilharco et al., "Editing Models
with Task Arithmetic", 2023. Yadav, Tam, Choshen, Raffel, Bansal, "TIES-Merging: Resolving Interference When Merging Models", 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from acclimate.compose.combination import sparsify, weigh
from acclimate.compose.combination.update import Update, gram, total
from acclimate.engine import MethodError

__all__ = ["NAMED", "Rule", "rule"]


@dataclass(frozen=True)
class Rule:
    """One way of combining; `rule` gives it by name.

    >>> Rule(sparsify="magnitude", density=0.2, elect="mass", normalise=True) == rule("ties")
    True
    """

    sparsify: str = "none"
    density: float = 1.0
    outliers: float = 0.01
    spread: float = 0.1
    limit: float = 1e-4
    rescale: Literal["none", "density", "l1", "l2"] = "none"
    align: Literal["none", "basis", "transport"] = "none"
    elect: Literal["none", "mass", "count"] = "none"
    weigh: str = "given"
    normalise: bool = False
    scale: float = 1.0

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "sparsify": ("none", *sparsify.WAYS),
            "rescale": ("none", "density", "l1", "l2"),
            "align": ("none", "basis", "transport"),
            "elect": ("none", "mass", "count"),
            "weigh": (*weigh.WAYS, "fisher"),
        }
        for axis, known in choices.items():
            if getattr(self, axis) not in known:
                raise MethodError(f"{axis}={getattr(self, axis)!r} is none of {', '.join(known)}")
        if self.weigh == "fisher" and not self.normalise:
            raise MethodError(
                "weigh='fisher' without normalise=True has no scale: how much entries matter is no weight"
            )
        if not 0 <= self.density <= 1 or not 0 <= self.outliers < 1:
            raise MethodError(f"density={self.density} and outliers={self.outliers} are shares: between 0 and 1")

    def using(self, **settings: Any) -> Rule:
        """The rule with other settings."""
        return replace(self, **settings)

    @property
    def linear(self) -> bool:
        """Whether it is a weighted sum, which keeps products of thin factors what they are."""
        return self.sparsify == "none" and self.elect == "none" and self.weigh != "fisher"

    def combined(
        self,
        updates: Sequence[Update],
        weights: Sequence[float],
        generator: torch.Generator,
        importance: Sequence[Tensor] | None = None,
    ) -> Update:
        """One update of several, each of the same shape; ``importance`` is how much each entry of each matters (`fisher`)."""
        if self.weigh == "fisher":
            return Update(whole=self._by_importance(updates, weights, generator, importance))
        if self.linear:
            shares = self._weights(updates, weights)
            if self.normalise:
                shares = shares / _whole(shares.sum())
            return total(updates, (self.scale * shares).tolist())
        if self.align == "basis":
            return self._in_basis(updates, weights, generator)
        stacked = torch.stack([each.dense().float() for each in updates])
        return Update(whole=self._entries(stacked, weights, generator))

    def _weights(self, updates: Sequence[Update], weights: Sequence[float]) -> Tensor:
        wanted = torch.tensor(weights, dtype=torch.float64)
        if self.weigh == "given":
            return wanted
        return weigh.WAYS[self.weigh](gram(updates), wanted)

    def _by_importance(
        self,
        updates: Sequence[Update],
        weights: Sequence[float],
        generator: torch.Generator,
        importance: Sequence[Tensor] | None,
    ) -> Tensor:
        if importance is None or self.align == "basis":
            raise MethodError(
                "weigh='fisher' needs how much each entry of each weight matters: give combine(..., importance="
                "[fisher(adapter, data), ...]), without align='basis'"
            )
        kept = self._kept(torch.stack([each.dense().float() for each in updates]), generator)
        matters = torch.stack([each.float() for each in importance])
        shares = torch.tensor(weights).view(-1, *(1,) * (kept.dim() - 1)) * (matters + _LEAST * matters.mean())
        return self._mixed(kept, shares)

    def _entries(self, stacked: Tensor, weights: Sequence[float], generator: torch.Generator) -> Tensor:
        """Entry by entry; stacked is (n, ...)."""
        kept = self._kept(stacked, generator)
        shares = self._weights([Update(whole=each) for each in kept], weights).to(kept.dtype)
        return self._mixed(kept, shares.view(-1, *(1,) * (kept.dim() - 1)))

    def _mixed(self, kept: Tensor, shares: Tensor) -> Tensor:
        parts = shares * kept
        agree = torch.ones_like(parts)
        if self.elect != "none":
            votes = parts.sum(0) if self.elect == "mass" else parts.sign().sum(0)
            agree = (parts.sign() == torch.where(votes >= 0, 1.0, -1.0)).to(parts)
        mixed = (parts * agree).sum(0)
        if self.normalise:
            whole = (shares * agree).sum(0)
            mixed = mixed / (whole.clamp_min(1e-30) if self.weigh == "fisher" else _whole(whole))
        return self.scale * mixed

    def _kept(self, stacked: Tensor, generator: torch.Generator) -> Tensor:
        if self.sparsify == "none":
            return stacked
        kept = sparsify.WAYS[self.sparsify](stacked, self, generator)
        if self.rescale == "density":
            return kept / self.density if self.density else kept
        if self.rescale in ("l1", "l2"):
            order = int(self.rescale[1])
            before, after = (t.flatten(1).norm(order, dim=1) for t in (stacked, kept))
            return kept * torch.where(after > 1e-7, before / after, 1.0).view(-1, *(1,) * (kept.dim() - 1))
        return kept

    def _in_basis(self, updates: Sequence[Update], weights: Sequence[float], generator: torch.Generator) -> Update:
        """U S is common; the rule acts on the V of each, (directions, in)."""
        thin = [each if each.whole is None else each.nearest(min(each.whole.shape[-2:])) for each in updates]
        q, r = torch.linalg.qr(torch.cat([each.factors[1] for each in thin], -1).double())
        parts, start = [], 0
        for each in thin:
            rank = each.factors[0].shape[-2]
            parts.append(r[:, start : start + rank] @ each.factors[0].double())
            start += rank
        u, s, v = torch.linalg.svd(torch.cat(parts, -1), full_matrices=False)
        merged = self._entries(torch.stack(v.chunk(len(thin), -1)).float(), weights, generator)
        return Update(down=merged, up=(q @ (u * s)).float())


_LEAST = 1e-6
"""The share of the mean that every entry matters: where nothing passes, updates count alike."""


def _whole(divisor: Tensor) -> Tensor:
    return torch.where(divisor.abs() < 1e-8, torch.ones_like(divisor), divisor)


NAMED: dict[str, Rule] = {
    "linear": Rule(normalise=True),
    "task_arithmetic": Rule(),
    "magnitude_prune": Rule(sparsify="magnitude", density=0.5),
    "ties": Rule(sparsify="magnitude", density=0.2, elect="mass", normalise=True),
    "dare_linear": Rule(sparsify="random", density=0.5, rescale="density"),
    "dare_ties": Rule(sparsify="random", density=0.5, rescale="density", elect="mass"),
    "breadcrumbs": Rule(sparsify="breadcrumbs", density=0.9),
    "breadcrumbs_ties": Rule(sparsify="breadcrumbs", density=0.9, elect="mass"),
    "della": Rule(sparsify="della", density=0.5, rescale="l1", elect="mass", normalise=True),
    "della_linear": Rule(sparsify="della", density=0.5, rescale="l1"),
    "slerp": Rule(weigh="slerp"),
    "karcher": Rule(weigh="karcher"),
    "model_stock": Rule(weigh="stock"),
    "similarity": Rule(weigh="similarity", normalise=True),
    "fisher": Rule(weigh="fisher", normalise=True),
    "sce": Rule(sparsify="variance", weigh="energy", elect="mass", normalise=True),
    "nearswap": Rule(sparsify="clip", limit=1e-4),
    "knots_ties": Rule(sparsify="magnitude", density=0.2, align="basis", elect="mass", normalise=True),
}
"""The points that have a name."""


def rule(name: str, **settings: Any) -> Rule:
    """A rule by its name in the field, with settings of your own."""
    if name not in NAMED:
        raise MethodError(f"there is no rule {name!r}: there are {', '.join(NAMED)}, and any point of acc.Rule(...)")
    return NAMED[name].using(**settings)
