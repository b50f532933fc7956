"""Prompts that ask each sample for what it has to say, one small module for every layer.

    H = f(D h + c)                                   all tokens of a sample, (tokens, width)
    Q = softmax(P H^T / sqrt(width)) H               what P asks for: (length, width), another for each sample
    y + s (U mean(Q) + e)                            the same for each token; U zero at first

D, P and U are common to all sites of one width, so a deeper model has no more parameters. Each token gets what was asked of
all of them, later ones too, so this is for encoders; it also sees padding.

He, Wang, Wang, Li, Fu, "DVPT: Dynamic Visual Prompt Tuning of Large Pre-trained Models for Medical Image Analysis", 2023.
How several prompts become one summand is not said there in a formula; here it is their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from acclimate.engine import MethodError, normal, positive, zeros
from acclimate.engine.glimpse import Glimpse
from acclimate.methods.bottleneck import Bottleneck
from acclimate.sites import Site, linear

__all__ = ["DynamicPrompt"]


class DynamicPrompt(Bottleneck):
    """``length`` prompts of ``width``, at whole blocks that put out (rows, tokens, channels).

    >>> DynamicPrompt(length=8, width=16).length
    8
    """

    width: int = 16
    length: int = 8

    exceptions = {"cache": "it asks all tokens that a block is given, and with a cache that is the last one alone"}

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, length=self.length)
        if self.reads != "output":
            raise MethodError(f"reads={self.reads!r} has no say here: prompts ask what a block puts out")

    def fits(self, site: Site) -> bool:
        return site.role == "block"

    def share(self, sites: Sequence[Site], look: Glimpse | None) -> list[Mapping[str, nn.Parameter]]:
        common: dict[int, dict[str, nn.Parameter]] = {}
        for site in sites:
            wide, narrow = site.width, self.width
            if wide not in common:
                common[wide] = {
                    "down": normal((narrow, wide), 1 / math.sqrt(wide), site),
                    "down_bias": zeros((narrow,), site),
                    "prompt": normal((self.length, narrow), 1, site),
                    "up": zeros((wide, narrow), site),
                    "up_bias": zeros((wide,), site),
                }
        return [common[site.width] for site in sites]

    class Module(Bottleneck.Module):
        units = {}
        method: DynamicPrompt
        prompt: nn.Parameter  # (length, width)

        def build(self, site: Site) -> None:
            """Every parameter is shared."""

        def asked(self, h: Tensor) -> Tensor:
            """What the prompts get from each sample: (rows, tokens, channels) to (rows, length, width)."""
            if h.dim() != 3:
                raise MethodError(f"DynamicPrompt asks (rows, tokens, channels), and this block gives {tuple(h.shape)}")
            H = self.middle(h)
            scores = linear(H, self.prompt) / math.sqrt(H.shape[-1])  # (rows, tokens, length)
            return scores.softmax(1).mT @ H

        def change(self, h: Tensor) -> Tensor:
            return linear(self.asked(h).mean(1, keepdim=True), self.up, self.up_bias)
