"""A routed adapter that gets more experts, or fewer.

    extended    new experts beside the old, which stay as they are; the router learns rows for the new ones alone
    pruned      without the experts that no token of some data is given to, at no site: on that data the same answers
    used        how many tokens each expert is given, at each site

Shen, Zhang, Cao, Tan, Chen, Gan, "ModuleFormer: Learning Modular Large Language Models From Uncurated Data", 2023.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.compose.route import Route
from acclimate.compose.tree import Composition, Leaf
from acclimate.engine import Adapter, Method, MethodError, attach
from acclimate.engine.batch import run_batch
from acclimate.engine.unchanged import unchanged

__all__ = ["extended", "pruned", "used"]


def extended(adapter: Adapter, *experts: Method, name: str = "extended") -> Adapter:
    """The adapter with new experts at all its sites; the old one stays, disabled.

    >>> import acclimate as acc
    >>> from acclimate.methods import LoRA
    >>> model = nn.Linear(4, 4)
    >>> first = acc.compose(model, Route({LoRA(rank=1): "weight"}, {LoRA(rank=1): "weight"}))
    >>> len(extended(first, LoRA(rank=2)).parts[0].method.children)
    3
    """
    tree, keys = _route(adapter)
    old = [_settled(child) for child in tree.children]
    new = [Leaf(repr(each), ((each, keys, ()),), learns=True, fresh=True) for each in experts]
    made = Route(*old, *new, **{**tree.settings, "settled": len(old)})
    return _filled(adapter, made, keys, name, list(range(len(old))))


def pruned(adapter: Adapter, data: Any, name: str = "pruned") -> Adapter:
    """The adapter without what a batch never uses; the old one stays, disabled.

    >>> import acclimate as acc
    >>> from acclimate.methods import LoRA
    >>> model = nn.Linear(4, 4)
    >>> first = acc.compose(model, Route({LoRA(rank=1): "weight"}, {LoRA(rank=2): "weight"}, top=1))
    >>> len(pruned(first, torch.ones(3, 4)).parts[0].method.children)
    1
    """
    tree, keys = _route(adapter)
    if tree.top is None:
        raise MethodError(f"{tree} gives every token to every expert, so none can be pruned: route with top=k")
    counts = torch.stack(list(used(adapter, data).values())).sum(0)
    kept = [number for number, count in enumerate(counts.tolist()) if count]
    settings = {**tree.settings, "top": min(tree.top, len(kept)), "settled": 0}
    return _filled(adapter, Route(*(tree.children[n] for n in kept), **settings), keys, name, kept)


def used(adapter: Adapter, data: Any) -> dict[str, Tensor]:
    """By site, the number of tokens (or rows) of a batch that each expert is given, (experts,)."""
    _route(adapter)
    counts: dict[str, Tensor] = {}
    handles = []
    for key, module in adapter.modules():

        def count(_: nn.Module, x: Any, gates: Tensor, key: str = key) -> None:
            now = (gates.flatten(0, -2) > 0).sum(0)
            counts[key] = counts[key] + now if key in counts else now

        handles.append(module.get_submodule("chosen").register_forward_hook(count))
    try:
        with torch.no_grad(), unchanged(adapter.model):
            adapter.model.eval()
            run_batch(adapter.model, data)
    finally:
        for handle in handles:
            handle.remove()
    return counts


def _route(adapter: Adapter) -> tuple[Route, tuple[str, ...]]:
    if len(adapter.parts) != 1 or not isinstance(adapter.parts[0].method, Route):
        found = ", ".join(str(part.method) for part in adapter.parts)
        raise MethodError(f"the adapter {adapter.name!r} is {found}, and not one Route at sites of one kind")
    return adapter.parts[0].method, adapter.parts[0].keys


def _settled(child: Any) -> Any:
    """A part of a tree as it is, with nothing in it to train."""
    if isinstance(child, Composition):
        raise MethodError(
            f"{child} is an expert that is a tree itself, which cannot be settled: combine it into one adapter"
        )
    return dataclasses.replace(child, learns=False, fresh=False)


def _filled(adapter: Adapter, tree: Route, keys: Sequence[str], name: str, kept: Sequence[int]) -> Adapter:
    """The tree attached, with what the old adapter has of it; ``kept`` are the old numbers of its first children."""
    made = attach(adapter.model, tree, list(keys), name)
    with torch.no_grad():
        for (_, to), (_, of) in zip(made.modules(), adapter.modules(), strict=True):
            assert isinstance(to, Route.Module) and isinstance(of, Route.Module)
            _put(to, [each[list(kept)] for each in of.routing()])
            for number, before in enumerate(kept):
                if (member := to._modules.get(str(number))) is not None:
                    member.load_state_dict(of.get_submodule(str(before)).state_dict())
    adapter.disable()
    return made


def _put(node: Route.Module, held: Sequence[Tensor]) -> None:
    """Rows of the router into where the node keeps them."""
    places = (node.router0, node.prior0) if node.method.settled else (node.router, node.prior)
    for place, rows in zip(places, held, strict=True):
        place.copy_(rows)
