"""A new classifier in the place of the old one, or behind an encoder that has none.

    logits = W pool(h) + b        W: (classes, channels), b: (classes,)

At the model itself (``at=""``) h is the encoder's output, and tokens are averaged under the attention mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from acclimate.engine import AdapterModule, Method, normal, positive, zeros
from acclimate.sites import Kind, Site, SiteError, find, linear

__all__ = ["Head", "pool"]


class Head(Method):
    """Logits over ``classes`` from what the site puts out; at a linear head, from what goes into it.

    >>> Head(classes=8).classes
    8
    """

    classes: int = 2

    kind: ClassVar[Kind] = "call"
    at: ClassVar[str] = ""
    learning_rate: ClassVar[float] = 1e-2
    exceptions = {"identity": "a new head answers another question than the old one"}

    def __post_init__(self) -> None:
        positive(self, classes=self.classes)

    def fits(self, site: Site) -> bool:
        return False

    def check_site(self, site: Site) -> None:
        heads = [inner.path for inner in find(site.module, "call") if inner.role == "head"] if not site.path else []
        if heads:
            raise SiteError(
                f"{site.type} ends in a head already, at {heads[0]!r}: put the new one there, with at='head'"
            )

    class Module(AdapterModule):
        method: Head

        def build(self, site: Site) -> None:
            self.replaces = isinstance(site.module, nn.Linear)
            channels = site.module.in_features if isinstance(site.module, nn.Linear) else site.width
            self.matrix = normal((self.method.classes, channels), 0.02, site)
            self.offset = zeros((self.method.classes,), site)
            self.entering = nn.Identity()  # a place to listen at: the penultimate features

        def around(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
            if self.replaces:
                return linear(self.entering(args[0]), self.matrix, self.offset)
            mask = kwargs.get("attention_mask")
            return linear(self.entering(pool(call(*args, **kwargs), mask)), self.matrix, self.offset)


def pool(y: Any, mask: Tensor | None = None) -> Tensor:
    """One vector a row: the mean over the tokens that the mask (rows, tokens) keeps, or over space, or y itself.

    A mask of another length is that of another sequence (an encoder's, for a decoder's output) and is left out.

    >>> pool(torch.tensor([[[1.0], [3.0]]]), torch.tensor([[1, 0]]))
    tensor([[1.]])
    """
    if isinstance(y, Mapping):
        y = y["last_hidden_state"] if "last_hidden_state" in y else next(iter(y.values()))
    elif isinstance(y, tuple):
        y = y[0]
    if y.dim() == 4:
        return y.mean((2, 3))
    if y.dim() == 3:
        if mask is None or mask.shape != y.shape[:2]:
            return y.mean(1)
        weight = mask.unsqueeze(-1).to(y.dtype)
        return (y * weight).sum(1) / weight.sum(1).clamp_min(torch.finfo(y.dtype).tiny)
    return y
