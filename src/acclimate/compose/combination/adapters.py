"""Several adapters of a model combined into one plain adapter, or a composition folded into one.

at a weight           the rule acts on what each adapter adds there, B A where that is all it is, else f(W) - W
at a call, attention  the parameters are averaged, of one method alone, their hidden units aligned where that is asked for
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from acclimate.compose.combination.align import aligned
from acclimate.compose.combination.fisher import Importance
from acclimate.compose.combination.plain import Combined, Parameters, plain
from acclimate.compose.combination.rule import Rule
from acclimate.compose.combination.update import Update
from acclimate.engine import Adapter, AdapterModule, MethodError
from acclimate.engine.adapter import taken
from acclimate.engine.files import sites_of
from acclimate.sites import Site

__all__ = ["combine_adapters", "updates"]


@torch.no_grad()
def combine_adapters(
    adapters: Sequence[Adapter],
    rule: Rule,
    weights: Sequence[float],
    name: str = "combined",
    rank: int | None = None,
    seed: int = 0,
    importance: Sequence[Importance] | None = None,
) -> Combined:
    """One adapter of several of one model, resident and enabled; those that it is made of are disabled."""
    model = adapters[0].model
    if any(adapter.model is not model for adapter in adapters):
        raise MethodError("adapters of one model are combined, and these are of several: load them into one")
    taken(model, name)
    generator = torch.Generator().manual_seed(seed)
    found = [updates(adapter) for adapter in adapters]
    made: dict[str, Update] = {}
    for key in dict.fromkeys(key for each in found for key in each):
        like = next(each[key] for each in found if key in each)
        matters = None if importance is None else _importance(importance, key, like)
        made[key] = rule.combined([each.get(key) or _nothing(like) for each in found], weights, generator, matters)

    def cut(update: Update) -> Update:
        return update if rank is None or (update.rank or min(_shape(update))) <= rank else update.nearest(rank)

    widths = {key: n for adapter in adapters for part in adapter.parts for key, n in part.widths.items()}
    done = plain(model, name, made, cut, _averaged(adapters, rule, weights), widths)
    for adapter in adapters:
        adapter.disable()
    return done


@torch.no_grad()
def updates(adapter: Adapter) -> dict[str, Update]:
    """What an adapter adds to each weight, and bias, that it changes."""
    found: dict[str, Update] = {}
    weights = [part for part in adapter.parts if part.method.kind == "weight"]
    for key, site in (sites_of(adapter.model, weights) if weights else {}).items():
        modules = adapter.entry.at(key, site.device)
        for module in modules:
            if "weight" not in module.faces:
                raise MethodError(
                    f"{adapter.name!r} cannot be combined: {module.method} at {key} acts on what passes, and no update of "
                    "the weight is the same; compose it in a tree"
                )
        found[key] = _update(modules, site)
        if site.biased and any("bias" in module.faces for module in modules):
            found |= _bias(modules, site)
    return found


def _update(modules: Sequence[AdapterModule], site: Site) -> Update:
    factors = [module.factors() for module in modules]
    products = [each for each in factors if each is not None]
    if len(products) == len(factors):
        return Update(down=torch.cat([a for a, _ in products], -2), up=torch.cat([b for _, b in products], -1))
    base = site.value().float()
    W = base
    for module in modules:
        W = module.weight(W)  # type: ignore[operator]
    return Update(whole=W - base)


def _bias(modules: Sequence[AdapterModule], site: Site) -> dict[str, Update]:
    reader = site.readers[0]
    base = None if reader.bias is None else reader.module._parameters.get(reader.bias)
    if base is None:
        return {}
    b: Tensor = base.float()
    for module in modules:
        b = module.bias(b) if "bias" in module.faces else b  # type: ignore[operator]
    key = f"{reader.path}.{reader.bias}" if reader.path else str(reader.bias)
    return {key: Update(whole=(b - base.float()).reshape(-1, 1))}


def _importance(given: Sequence[Importance], key: str, like: Update) -> list[Tensor]:
    """How much the entries at a site matter to each; where an adapter has nothing there, and at biases, all alike."""
    return [each[key] if key in each else torch.ones(_shape(like)) for each in given]


def _nothing(like: Update) -> Update:
    """No update, of the same shape."""
    if like.whole is not None:
        return Update(whole=torch.zeros_like(like.whole))
    down, up = like.factors
    return Update(down=down[..., :0, :], up=up[..., :, :0])


def _shape(update: Update) -> tuple[int, int]:
    if update.whole is not None:
        return update.whole.shape[-2], update.whole.shape[-1]
    down, up = update.factors
    return up.shape[-2], down.shape[-1]


def _averaged(adapters: Sequence[Adapter], rule: Rule, shares: Sequence[float]) -> Parameters:
    """The parameters of what does not sit at a weight, averaged."""
    weights = torch.tensor(shares) * rule.scale
    weights = weights / weights.sum() if rule.normalise else weights
    places = {
        key: part.method
        for adapter in adapters
        for part in adapter.parts
        if part.method.kind != "weight"
        for key in part.keys
    }
    made: Parameters = {}
    for key, method in places.items():
        if method.composes:
            raise MethodError(
                f"{method} at {key} is a composition of what no weight can do, so it stays one: compose it further"
            )
        each = [_tensors(adapter, key) for adapter in adapters]
        if any(methods != [method] for methods, _ in each):
            raise MethodError(
                f"{method} at {key} is not the one method there in every adapter, so parameters cannot be averaged: "
                "compose Average(...) instead"
            )
        tensors = [roles for _, roles in each]
        if tensors[0] and (not rule.linear or rule.weigh != "given"):
            raise MethodError(
                f"{method} at {key} is no change of a weight, so it can only be averaged: use rule='linear'"
            )
        if rule.align == "transport":
            tensors = aligned(tensors, method.Module.units)
        made.setdefault(method, {})[key] = {
            role: torch.stack([w * roles[role].float() for w, roles in zip(weights, tensors, strict=True)]).sum(0)
            for role in tensors[0]
        }
    return made


def _tensors(adapter: Adapter, key: str) -> tuple[list[object], dict[str, Tensor]]:
    """The methods of an adapter at a place, and its tensors there by role."""
    methods: list[object] = []
    found: dict[str, Tensor] = {}
    for index, part in enumerate(adapter.parts):
        if key in part.keys:
            methods.append(part.method)
            prefix = f"{index}/{key}/"
            found |= {n[len(prefix) :]: t for n, t in adapter.tensors().items() if n.startswith(prefix)}
    return methods, found
