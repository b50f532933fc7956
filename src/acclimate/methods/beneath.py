"""A bottleneck in the residual stream that goes into a norm, in networks that norm after adding.

    n(x + s U f(D n(x) + c) + e)        reads what the norm put out (Pfeiffer et al.)
    n(x + s U f(D x + c) + e)           reads what went into it (He et al.)

The site is the norm, or the module that adds and norms at its end, n(W h + x): then x is its last argument.

Pfeiffer, Kamath, Rücklé, Cho, Gurevych, "AdapterFusion: Non-Destructive Task Composition for Transfer Learning", 2021. He, Zhou,
Ma, Berg-Kirkpatrick, Neubig, "Towards a Unified View of Parameter-Efficient Transfer Learning", 2022.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from acclimate.methods.bottleneck import Bottleneck
from acclimate.sites import Site

__all__ = ["BeneathNorm"]


class BeneathNorm(Bottleneck):
    """Bottleneck before a norm that reads what comes after it. Where it reads its output, the site is called twice.

    >>> BeneathNorm(width=16, activation="relu").reads
    'output'
    """

    at: ClassVar[str] = "norm"

    def fits(self, site: Site) -> bool:
        return site.role == "norm" and not self.refuses(site)

    def refuses(self, site: Site) -> str:
        counts = any(hasattr(module, "running_mean") for module in site.module.modules())
        return "runs its site twice, which counts its statistics twice" if counts and self.reads == "output" else ""

    class Module(Bottleneck.Module):
        method: BeneathNorm
        output = None  # type: ignore[assignment]

        def around(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            *before, stream = args
            read: Tensor = call(*args, **kwargs) if self.method.reads == "output" else stream
            return call(*before, stream + self.branch(read).to(stream.dtype), **kwargs)
