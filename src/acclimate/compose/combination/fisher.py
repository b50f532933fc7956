"""How much each entry of a weight matters to what a model says: the diagonal of the Fisher information.

    F = mean_x E_{y ~ p(. | x)} (d log p(y | x) / d W)^2        by one drawn y a row, at the adapted weights

Matena, Raffel, "Merging Models with Fisher-Weighted Averaging", 2022: with ``Rule(weigh="fisher")`` every entry of every update
counts by its own F.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from acclimate.data import as_batches
from acclimate.engine import Adapter, MethodError, adapters
from acclimate.engine.batch import first_tensor, rows_of, run_batch, take
from acclimate.engine.files import sites_of
from acclimate.engine.unchanged import unchanged
from acclimate.sites import raw

__all__ = ["Importance", "fisher"]

Importance = dict[str, Tensor]
"""For each site, the Fisher information of its matrix's entries, (out, in)."""


def fisher(adapter: Adapter, data: Any, rows: int = 256, seed: int = 0) -> Importance:
    """At each weight that an adapter changes, over the first ``rows`` of the data; classes are the answers' second axis, or
    for a sequence of tokens (three axes) the last. The model is left as it was, and must not be used meanwhile.

    >>> import acclimate as acc
    >>> model = torch.nn.Linear(3, 2, bias=False)
    >>> held = acc.attach(model, acc.LoRA(rank=1), at="weight")
    >>> fisher(held, torch.ones(4, 3))["weight"].shape
    torch.Size([2, 3])
    """
    model = adapter.model
    parts = [part for part in adapter.parts if part.method.kind == "weight"]
    if not parts:
        raise MethodError(f"the adapter {adapter.name!r} changes no weight, so no entry of one matters to it")
    generator = torch.Generator().manual_seed(seed)
    with unchanged(model), _merged(adapter):
        model.eval()
        sites = sites_of(model, parts)
        held = {key: raw(site.module, site.readers[0].attribute) for key, site in sites.items()}
        weights = list(dict.fromkeys(w for w in held.values() if w is not None))
        total = {weight: torch.zeros_like(weight) for weight in weights}
        for weight in weights:
            weight.requires_grad_(True)
        count = 0
        for row in islice(_rows(data), rows):
            logits = first_tensor(run_batch(model, row)).float()
            logs = (logits.flatten(2).mT if logits.dim() > 3 else logits).flatten(0, -2).log_softmax(-1)
            drawn = torch.multinomial(logs.detach().exp(), 1, generator=generator)
            found = torch.autograd.grad(logs.gather(1, drawn).sum(), weights, allow_unused=True)
            for weight, gradient in zip(weights, found, strict=True):
                if gradient is not None:
                    total[weight] += gradient.square()
            count += 1
        if not count:
            raise MethodError("the data is empty: what matters is read from rows")
        made: Importance = {}
        for key, site in sites.items():
            read = held[key]
            assert read is not None
            matrix = site.layout.matrix(total[read]) / count
            made[key] = matrix if site.part is None else matrix[site.part[0] : site.part[1]]
    return made


@contextmanager
def _merged(adapter: Adapter) -> Iterator[None]:
    """The model with this adapter alone, in its weights."""
    were = {name: each.enabled for name, each in adapters(adapter.model).items()}
    try:
        for each in adapters(adapter.model).values():
            each.disable()
        adapter.merge()
        yield
    finally:
        if adapter.merged:
            adapter.unmerge()
        for name, enabled in were.items():
            (adapters(adapter.model)[name].enable if enabled else adapters(adapter.model)[name].disable)()


def _rows(data: Any) -> Iterator[Any]:
    """The inputs of one row at a time."""
    for batch in as_batches(data):
        for index in range(rows_of(batch.inputs)):
            yield take(batch.inputs, slice(index, index + 1))
