"""Logits and what representative rows say that are like this one: a cache at the logits, without a gradient.

    z_i + alpha sum_j exp(- beta (1 - s_ij cos(f_i, f_j))) onehot(k_j)         over the cached rows j of all classes
    s_ij = 2 (1 - (d_ij - min_j d_ij) / (max_j d_ij - min_j d_ij)),            d_ij = KL(p_i || p_j),  p = softmax(z / temperature)

For each class k the 2 ``most`` rows are held that had the largest p_k so far, and of them those ``most`` are cached that are
nearest to the others: of least  sum_j' KL(p_j || p_j').  The rows of a batch come in before it is answered.

Long, Wang, Zhao, Tan, Wu, Wang, Wang, "Training-Free Unsupervised Prompt for Vision-Language Models", 2024 (TFUP), as in its code,
which chooses from the whole target at once; here that is a batch of everything. There features and classes are CLIP's.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, Order, positive
from acclimate.sites import Kind, Site

__all__ = ["FeatureCache", "divergence"]


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p_i || q_j) of logarithms of probabilities (..., rows, classes) and (..., others, classes): (..., rows, others).

    >>> log_p = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64).log()
    >>> divergence(log_p, log_p).diagonal().abs().max() < 1e-9
    tensor(True)
    """
    p = log_p.exp()
    return (p * log_p).sum(-1, keepdim=True) - p @ log_q.mT


class FeatureCache(Method):
    """At the head: features (rows, channels) enter, logits (rows, classes) leave. ``alpha=0`` gives them as they are.

    >>> FeatureCache().at
    'head'
    """

    most: int = 16
    alpha: float = 0.3
    beta: float = 1.0
    temperature: float = 10.0

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    coupled: ClassVar[bool] = True
    expects: ClassVar[Order] = "shuffled"
    exceptions = {"identity": "it has no parameters: attached, it answers by what is cached too"}

    def __post_init__(self) -> None:
        positive(self, most=self.most, beta=self.beta, temperature=self.temperature)
        if not self.alpha >= 0:
            raise MethodError(f"alpha={self.alpha} cannot work: what the cache says counts for 0 or more")

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        if not isinstance(site.module, nn.Linear):
            raise MethodError(
                f"FeatureCache corrects a linear classifier, and {site.key} is a {site.type}: name it, as at='head'"
            )

    class Module(AdapterModule):
        method: FeatureCache
        features: Tensor
        said: Tensor
        sure: Tensor

        def build(self, site: Site) -> None:
            assert isinstance(site.module, nn.Linear)
            (classes, channels), pool = site.module.weight.shape, 2 * self.method.most
            weight = site.module.weight.detach()
            self.register_buffer("features", weight.new_zeros(classes, pool, channels, dtype=torch.float32))
            self.register_buffer("said", weight.new_zeros(classes, pool, classes, dtype=torch.float64))  # log p
            self.register_buffer("sure", weight.new_full((classes, pool), -torch.inf, dtype=torch.float64))

        @torch.no_grad()
        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None and y.dim() == 2:
                for held, value in zip((self.features, self.said, self.sure), self._with(x, y), strict=True):
                    held.copy_(value)

        @torch.no_grad()
        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if y.dim() != 2 or self.method.alpha == 0:
                return y
            features, said, sure = self._with(x, y)
            chosen = self._representative(said, sure).flatten()  # (classes * pool,)
            label = torch.arange(len(sure), device=y.device).repeat_interleave(sure.shape[1])[chosen]
            keys, own = features.flatten(0, 1)[chosen], self._log_p(y)
            likeness = F.normalize(x.to(keys), dim=1) @ F.normalize(keys, dim=1).mT  # (rows, cached)
            apart = divergence(own, said.flatten(0, 1)[chosen])
            low, high = apart.amin(1, keepdim=True), apart.amax(1, keepdim=True)
            meaning = 2 * (1 - (apart - low) / (high - low).clamp_min(1e-12))
            weight = (-self.method.beta * (1 - meaning.to(likeness) * likeness)).exp()
            return (y + self.method.alpha * weight @ F.one_hot(label, len(sure)).to(weight)).to(y.dtype)

        def _log_p(self, y: Tensor) -> Tensor:
            return (y.double() / self.method.temperature).log_softmax(1)  # near rows differ in the last places alone

        def _with(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """What is held once these rows have come: of each class those that had the largest share of it."""
            said, classes = self._log_p(y), len(self.sure)
            found = torch.cat([self.sure, said.mT], 1).topk(self.sure.shape[1], 1)  # (classes, pool)
            pools = []
            for held, new in ((self.features, x.float()), (self.said, said)):
                every = torch.cat([held, new.expand(classes, -1, -1)], 1)
                pools.append(every.gather(1, found.indices.unsqueeze(2).expand(-1, -1, every.shape[2])))
            return pools[0], pools[1], found.values

        def _representative(self, said: Tensor, sure: Tensor) -> Tensor:
            """Which of the pool are cached, (classes, pool): nearest to the others in what was said of them."""
            there = sure.isfinite()
            apart = (divergence(said, said) * there.unsqueeze(1)).sum(2).masked_fill(~there, torch.inf)
            near = apart.topk(self.method.most, 1, largest=False).indices
            return torch.zeros_like(there).scatter(1, near, True) & there
