"""A classifier that is made anew from the rows of a stream that the model was most sure of.

    S_k: the ``most`` features of least entropy among the rows answered with k, the classifier's own row w_k among them at first
    c_k = sum over S_k of f / |f|,     z_ik = f_i . c_k / |c_k|

The rows of a batch come in before it is answered. Nothing goes backward.

Iwasawa, Matsuo, "Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization", 2021 (T3A). There w_k counts
for the class that it is itself answered with, and here for its own.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import AdapterModule, Method, MethodError, Order, positive
from acclimate.losses.probability import entropy
from acclimate.sites import Kind, Site

__all__ = ["T3A"]


class T3A(Method):
    """At the head: features (rows, channels) enter, logits (rows, classes) leave; ``most`` features are held for each class.

    >>> T3A().at
    'head'
    """

    most: int = 100

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = "head"
    coupled: ClassVar[bool] = True
    expects: ClassVar[Order] = "shuffled"
    exceptions = {"identity": "it has no parameters: attached, it answers by its own classifier"}

    def __post_init__(self) -> None:
        positive(self, most=self.most)

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        if not isinstance(site.module, nn.Linear):
            raise MethodError(
                f"T3A is made from a linear classifier, and {site.key} is a {site.type}: name it, as at='head'"
            )

    class Module(AdapterModule):
        method: T3A
        features: Tensor
        doubt: Tensor

        def build(self, site: Site) -> None:
            assert isinstance(site.module, nn.Linear)
            linear, most = site.module, self.method.most
            weight = linear.weight.detach().float()
            held, doubt = (
                weight.new_zeros(len(weight), most, weight.shape[1]),
                weight.new_full((len(weight), most), torch.inf),
            )
            held[:, 0] = weight
            doubt[:, 0] = entropy(
                F.linear(weight, weight, None if linear.bias is None else linear.bias.detach().float())
            )
            self.register_buffer("features", held)  # (classes, most, channels)
            self.register_buffer("doubt", doubt)  # (classes, most), infinite where there is none

        @torch.no_grad()
        def output(self, x: Tensor, y: Tensor) -> Tensor:
            if y.dim() != 2:
                return y
            held, doubt = self._with(x, y)
            sure = doubt.isfinite().unsqueeze(2)
            centres = F.normalize((F.normalize(held, dim=2) * sure).sum(1), dim=1)
            return F.linear(x.to(centres), centres).to(y.dtype)

        def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
            if feedback is None and y.dim() == 2:
                held, doubt = self._with(x, y)
                self.features.copy_(held)
                self.doubt.copy_(doubt)

        def _with(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            """What is held once these rows have come."""
            new = entropy(y.float()).expand(len(self.doubt), -1)  # (classes, rows)
            other = y.argmax(1) != torch.arange(len(self.doubt), device=y.device).unsqueeze(1)
            doubt = torch.cat([self.doubt, new.to(self.doubt).masked_fill(other, torch.inf)], 1)
            found = doubt.topk(self.method.most, 1, largest=False)
            every = torch.cat([self.features, x.to(self.features).expand(len(self.doubt), -1, -1)], 1)
            return every.gather(1, found.indices.unsqueeze(2).expand(-1, -1, every.shape[2])), found.values
