"""What one batch shows of a model, for methods that look at some data before they are attached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.engine.batch import run_batch
from acclimate.engine.method import MethodError
from acclimate.engine.unchanged import unchanged
from acclimate.sites.layout import Matrix

if TYPE_CHECKING:
    from acclimate.sites import Site

__all__ = ["Glimpse"]


class Glimpse:
    """A model and one batch of its inputs, which may be None; nothing runs until something is asked for."""

    def __init__(self, model: nn.Module, batch: Any = None) -> None:
        self.model, self.batch = model, batch

    def inputs(self, sites: Sequence[Site]) -> list[Tensor]:
        """What enters each site's linear call on the batch, (rows, in) in float32, in evaluation mode.

        Raises `MethodError` where there is no batch, or where a site is no plain linear map.
        """
        if self.batch is None:
            raise MethodError("this method looks at data first: pass data=batch to attach")
        for site in sites:
            if not isinstance(site.layout, Matrix) or not site.layout.rowwise:
                raise MethodError(f"inputs can be seen of linear modules alone, and {site.key} is of a {site.type}")
        seen: dict[int, list[Tensor]] = {id(site.module): [] for site in sites}

        def look(module: nn.Module, args: Any, kwargs: Any) -> None:
            x = args[0] if args else next(iter(kwargs.values()))
            seen[id(module)].append(x.detach().float().reshape(-1, x.shape[-1]))

        modules = {id(site.module): site.module for site in sites}
        handles = [m.register_forward_pre_hook(look, with_kwargs=True) for m in modules.values()]
        try:
            with torch.no_grad(), unchanged(self.model):
                self.model.eval()
                run_batch(self.model, self.batch)
        finally:
            for handle in handles:
                handle.remove()
        silent = [site.key for site in sites if not seen[id(site.module)]]
        if silent:
            raise MethodError(f"the batch did not reach {silent[0]}, so its inputs are not known: give another batch")
        return [torch.cat(seen[id(site.module)]) for site in sites]
