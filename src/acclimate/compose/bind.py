"""A tree of names, files and methods made an adapter of a model.

    acc.compose(model, Average("news", Stack("german.safetensors", LoRA(rank=4))))

Leaves that were adapters keep their values and are not trained, unless ``train`` names them; methods are new and are trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.compose.node import Node
from acclimate.compose.tree import Composition, Leaf
from acclimate.engine import Adapter, Method, MethodError, adapters
from acclimate.engine.adapter import choose, enter, taken
from acclimate.engine.files import opened, sites_of
from acclimate.engine.glimpse import Glimpse
from acclimate.engine.placing import build, seat
from acclimate.engine.registry import Entry, Part, state
from acclimate.sites import Kind, Measured, Site

__all__ = ["compose", "take"]

Values = dict[str, Tensor]
KINDS: tuple[Kind, ...] = ("weight", "call", "attention")


def compose(
    model: nn.Module,
    tree: Composition,
    name: str = "composition",
    train: Iterable[str] = (),
    data: Any = None,
    seed: int = 0,
) -> Adapter:
    """Make a tree an adapter of the model, attached and enabled. The adapters it is made of stay as they are, disabled.

    A leaf is the name of an adapter of the model, a file, a method or ``{method: at}``. Nothing changes if this raises.

    >>> from acclimate.compose import Average
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Linear(4, 4)
    >>> made = [attach(model, LoRA(rank=1), at="weight", name=name) for name in ("a", "b")]
    >>> compose(model, Average("a", "b")).parts[0].method
    Average(a, b)
    """
    taken(model, name)
    learning = set(train)
    values: list[Values] = []
    bound = _bound(model, tree, learning, values, data)
    if unknown := learning - {leaf.name for leaf in bound.leaves()}:
        raise MethodError(f"train names {min(unknown)!r}, which is none of {', '.join(map(str, bound.leaves()))}")
    parts: list[Part] = []
    chosen: list[list[Site]] = []
    for kind in KINDS:
        whole = bound.over(bound.children, kind)
        if keys := whole.sites():
            widths = {key: n for leaf in whole.leaves() for _, own, wide in leaf.parts for key, n in wide if key in own}
            part = Part(whole, tuple(keys), {key: widths[key] for key in keys if key in widths})
            chosen.append(list(sites_of(model, [part]).values()))
            for site in chosen[-1]:
                whole.check_site(site)
            parts.append(part)
    entry = Entry(name, parts, build(parts, chosen, Glimpse(model, data), seed))
    with torch.no_grad():
        for part_index, key, module in entry.each():
            fill(parts[part_index].method, module, key, values)  # type: ignore[arg-type]
    for leaf in bound.leaves():
        if leaf.name in adapters(model):
            adapters(model)[leaf.name].disable()
    return enter(model, entry, chosen)


def _bound(model: nn.Module, tree: Composition, learning: set[str], values: list[Values], data: Any) -> Composition:
    """The tree over leaves that say of what they are; their tensors are put into ``values``, from left to right."""
    children: list[Composition | Leaf] = []
    for child in tree.children:
        if isinstance(child, Composition):
            children.append(_bound(model, child, learning, values, data))
        else:
            leaf, tensors = _leaf(model, child, learning, data)
            values.append(tensors)
            children.append(leaf)
    return tree.over(children)


def _leaf(model: nn.Module, child: Any, learning: set[str], data: Any) -> tuple[Leaf, Values]:
    if isinstance(child, Adapter):
        child = child.name
    if isinstance(child, Method | Mapping):
        parts, _ = choose(model, child, None, data)
        return Leaf(repr(child), _as_value(parts), learns=True, fresh=True), {}
    name, held = str(child), adapters(model)
    if name in held:
        return Leaf(name, _as_value(held[name].parts), name in learning), held[name].tensors()
    if not Path(name).suffix:
        raise MethodError(f"{name!r} is no adapter of the model, which has {', '.join(held) or 'none'}, and no file")
    own, parts, _, tensors = opened(model, Path(name))
    return Leaf(own, _as_value(parts), own in learning), tensors


def _as_value(parts: list[Part]) -> tuple[tuple[Method, tuple[str, ...], tuple[tuple[str, Measured], ...]], ...]:
    return tuple((part.method, part.keys, tuple(part.widths.items())) for part in parts)


def fill(tree: Composition, node: Node, key: str, values: list[Values]) -> None:
    """Give the modules at one site what their leaves held, by the leaves' numbers from left to right."""
    for number, part, path in places(tree, node, key):
        if values[number]:
            for role, tensor in state(node.get_submodule(path)).items():
                tensor.copy_(values[number][f"{part}/{key}/{role}"])
    for each in node.modules():
        if isinstance(each, Node):
            each.ready()


def places(tree: Composition, node: Any, key: str, first: int = 0, at: str = "") -> Iterator[tuple[int, int, str]]:
    """Where leaves have modules at one site: the leaf's number, the number of its part, the path in the tree's module."""
    for index, child in enumerate(tree.children):
        member = None if node is None else node._modules.get(str(index))
        path = f"{at}{index}"
        if isinstance(child, Composition):
            yield from places(child, member, key, first, f"{path}.")
            first += len(child.leaves())
            continue
        if member is not None:
            own = [n for n, (method, keys, _) in enumerate(child.parts) if key in keys and method.kind == tree.kind]
            for step, part in enumerate(own):
                yield first, part, path if len(own) == 1 else f"{path}.{step}"
        first += 1


def take(adapter: Adapter, leaf: str, name: str | None = None) -> Adapter:
    """An adapter out of a composition as one of its own, with the values that it has there; resident and enabled.

    >>> from acclimate.compose import Stack
    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Linear(4, 4)
    >>> german = attach(model, LoRA(rank=1), at="weight", name="german")
    >>> stacked = compose(model, Stack("german", {LoRA(rank=2): "weight"}), name="stacked")
    >>> take(stacked, "{LoRA(rank=2): 'weight'}", "task").parts[0].method
    LoRA(rank=2)
    """
    trees = [part.method for part in adapter.parts if isinstance(part.method, Composition)]
    leaves = trees[0].leaves() if trees else []
    found = next((number for number, each in enumerate(leaves) if each.name == leaf), None)
    if found is None:
        raise MethodError(f"{adapter.name!r} has no {leaf!r} in it: it has {', '.join(map(str, leaves)) or 'no tree'}")
    name = leaf if name is None else name
    taken(adapter.model, name)
    tensors = adapter.tensors()
    named: Values = {}
    for index, key, module in adapter.entry.each():
        tree = adapter.parts[index].method
        for number, part, path in places(tree, module, key) if isinstance(tree, Composition) else ():
            prefix = f"{index}/{key}/{path}."
            if number == found:
                own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
                named |= {f"{part}/{key}/{role}": tensor.detach().clone() for role, tensor in own.items()}
    parts = [Part(method, keys, dict(widths)) for method, keys, widths in leaves[found].parts]
    seat(adapter.model, name, parts, sites_of(adapter.model, parts), named, lambda expected: None)
    return Adapter(adapter.model, name)
