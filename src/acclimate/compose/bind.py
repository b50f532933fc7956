"""A tree of names, files and methods made an adapter of a model.

    acc.compose(model, Average("news", Stack("german.safetensors", LoRA(rank=4))))

Leaves that were adapters keep their values and are not trained, unless ``train`` names them; methods are new and are trained.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from acclimate.engine.placing import build
from acclimate.engine.registry import Entry, Part, state
from acclimate.sites import Kind, Site

__all__ = ["compose"]

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
            fill(parts[part_index].method, module, key, values)
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


def _as_value(parts: list[Part]) -> tuple[tuple[Method, tuple[str, ...], tuple[tuple[str, int], ...]], ...]:
    return tuple((part.method, part.keys, tuple(part.widths.items())) for part in parts)


def fill(tree: Any, node: Any, key: str, values: list[Values], first: int = 0) -> int:
    """Give the modules at one site what their leaves held; ``first`` is the number of the tree's first leaf."""
    for index, child in enumerate(tree.children):
        member = None if node is None else node._modules.get(str(index))
        if isinstance(child, Composition):
            first = fill(child, member, key, values, first)
            continue
        if member is not None and values[first]:
            own = [n for n, (method, keys, _) in enumerate(child.parts) if key in keys and method.kind == tree.kind]
            for part, module in zip(own, [member] if len(own) == 1 else member.present, strict=True):
                for role, tensor in state(module).items():
                    tensor.copy_(values[first][f"{part}/{key}/{role}"])
        first += 1
    if isinstance(node, Node):
        node.ready()
    return first
