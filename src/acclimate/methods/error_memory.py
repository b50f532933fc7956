"""Predictions corrected by the errors that were made on rows like these, as soon as their labels have come.

    p'_i = p_i + strength e_i,    e_i = sum_j a_ij (y_j - p_j),    a_i = softmax_j(cos(h_i, h_j) / temperature)

j runs over the ``neighbours`` nearest of the last ``size`` labelled rows; h is what enters the classifier, p its probabilities and
y the label as ones and zeros. An output of one channel is a logit, and p two classes. Nothing is trained: the base stays as it is,
and rows enter and leave the memory in the order in which their labels come.

Zhu, Cai, Huang, Dong, Tang, Zhang, "ReLoop2: Building Self-Adaptive Recommendation Models via Responsive Error Compensation Loop",
2023, which looks rows up by hashes; here all are compared. Its weights and their temperature could not be checked.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, Order, positive
from acclimate.methods.bottleneck import entering
from acclimate.sites import Kind, Site

__all__ = ["ErrorMemory"]


class ErrorMemory(Method):
    """At a linear classifier: features (rows, channels) enter, logits (rows, classes) or (rows, 1) leave.

    >>> ErrorMemory(size=256).neighbours
    8
    """

    size: int = 1024
    neighbours: int = 8
    strength: float = 1.0
    temperature: float = 0.1

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    expects: ClassVar[Order] = "correlated"

    def __post_init__(self) -> None:
        positive(self, size=self.size, neighbours=self.neighbours, temperature=self.temperature)
        if self.strength < 0:
            raise MethodError(f"ErrorMemory(strength={self.strength}) cannot work: it is 0 or more")

    def refuses(self, site: Site) -> str:
        return "" if isinstance(site.module, nn.Linear) else "remembers what enters a linear classifier"

    def fits(self, site: Site) -> bool:
        return False

    class Module(AdapterModule):
        method: ErrorMemory
        keys: Tensor  # (size, channels), of length 1
        errors: Tensor  # (size, classes)
        held: Tensor  # how many labels have come

        def build(self, site: Site) -> None:
            size, classes = self.method.size, max(2, site.width)
            self.register_buffer("keys", torch.zeros(size, entering(site, site.width), device=site.device))
            self.register_buffer("errors", torch.zeros(size, classes, device=site.device))
            self.register_buffer("held", torch.zeros((), dtype=torch.long, device=site.device))

        def output(self, x: Tensor, y: Tensor) -> Tensor:
            known = min(int(self.held), self.method.size)
            if not known:
                return y
            near = F.normalize(x.float(), dim=-1) @ self.keys[:known].T
            likeness, which = near.topk(min(self.method.neighbours, known), -1)
            share = (likeness / self.method.temperature).softmax(-1)
            error = (share.unsqueeze(-1) * self.errors[which]).sum(-2)  # (..., classes)
            p = _classes(y).float().softmax(-1)
            change = (p + self.method.strength * error).clamp_min(1e-6).log() - p.clamp_min(1e-6).log()
            return y + (change if y.shape[-1] > 1 else change.diff(dim=-1)).to(y.dtype)

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None:
                return
            size, p = self.method.size, _classes(y).float().softmax(-1)
            errors = F.one_hot(feedback.long(), p.shape[-1]).to(p) - p
            rows = torch.arange(len(x), device=x.device)[-size:]
            places = (self.held + rows) % size
            self.keys[places] = F.normalize(x[rows].float(), dim=-1)
            self.errors[places] = errors[rows]
            self.held += len(x)


def _classes(y: Tensor) -> Tensor:
    """Logits of classes; a single one is against 0."""
    return y if y.shape[-1] > 1 else torch.cat([torch.zeros_like(y), y], -1)
