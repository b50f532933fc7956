"""Several adapters as one: a tree whose leaves are adapters and whose nodes say how they act together.

    Stack       y <- a_n(... a_1(y))                     each acts on what those before it made
    otherwise   y + sum_i g_i (a_i(y) - y)               each acts on the base; the gates g are what the node is

A tree is a method: attached it is an adapter like any other, which is saved, merged, checked and composed further.

Pfeiffer et al., "Adapters: A Unified Library for Parameter-Efficient and Modular Transfer Learning", 2023 (trees as values).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from acclimate.compose.node import Node, Steps
from acclimate.engine import AdapterModule, Method, MethodError
from acclimate.engine.glimpse import Glimpse
from acclimate.sites import Kind, Measured, Site

__all__ = ["Composition", "Leaf", "compositions"]

_DEEPEST = 32


@dataclasses.dataclass(frozen=True)
class Leaf:
    """An adapter in a tree: its methods, each with its sites. ``learns``: its parameters are trained with the tree's;
    ``fresh``: it has no values yet."""

    name: str
    parts: tuple[tuple[Method, tuple[str, ...], tuple[tuple[str, Measured], ...]], ...]
    learns: bool = False
    fresh: bool = dataclasses.field(default=False, compare=False)

    def __repr__(self) -> str:
        return self.name

    def describe(self) -> dict[str, Any]:
        parts = [{**m.describe(), "sites": list(keys), "widths": dict(widths)} for m, keys, widths in self.parts]
        return {"leaf": self.name, "parts": parts, "learns": self.learns}

    def sites(self, kind: Kind) -> list[str]:
        return [key for method, keys, _ in self.parts if method.kind == kind for key in keys]

    def make(self, sites: Mapping[str, Site], kind: Kind, look: Glimpse | None) -> dict[str, AdapterModule]:
        found: dict[str, list[AdapterModule]] = {}
        for method, keys, _ in self.parts:
            if method.kind == kind:
                if method.relays:
                    raise MethodError(f"{method} hands on what it reads from site to site, which no tree can gate")
                modules = method.make([sites[key] for key in keys], look if self.fresh else None)
                if not self.learns:
                    _freeze(modules)
                for key, module in zip(keys, modules, strict=True):
                    found.setdefault(key, []).append(module)
        return {k: each[0] if len(each) == 1 else Steps(None, sites[k], each) for k, each in found.items()}


def _freeze(modules: Sequence[AdapterModule]) -> None:
    """Make parameters buffers, shared ones the same: state that is saved and moved, and that nothing trains."""
    made: dict[int, Tensor] = {}
    for module in modules:
        for inner in module.modules():
            for role, parameter in list(inner._parameters.items()):
                if parameter is not None:
                    del inner._parameters[role]
                    inner.register_buffer(role, made.setdefault(id(parameter), parameter.detach()))


class Composition(Method, init=False):
    """A node over ``children``: names of adapters, files, methods or further trees, until it is bound to a model.

    A subclass has its settings as fields and a `Node` as its ``Module``; ``init=False`` in its head tells type checkers that
    children are given one by one.
    """

    children: tuple[Any, ...] = ()
    kind: Kind = "weight"  # type: ignore[misc]
    at: ClassVar[str] = "all"
    composes: ClassVar[bool] = True
    exceptions = {"identity": "it acts as the adapters in it do"}

    def __init_subclass__(cls, init: bool = False) -> None:
        super().__init_subclass__(init=init)

    def __init__(self, *children: Any, **settings: Any) -> None:
        fields = {f.name: f.default for f in dataclasses.fields(self) if f.name != "children"}  # type: ignore[arg-type]
        if unknown := sorted(settings.keys() - fields.keys()):
            own = ", ".join(sorted(fields.keys() - {"kind"})) or "none"
            raise MethodError(f"{type(self).__name__} has no setting {unknown[0]!r}: it has {own}")
        if not children:
            raise MethodError(f"{type(self).__name__}() has nothing to compose: give it adapters, by name or as trees")
        for name, value in {**fields, **settings}.items():
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)
        object.__setattr__(self, "children", children)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""

    @property
    def coupled(self) -> bool:  # type: ignore[override]
        return any(method.coupled for leaf in self.leaves() for method, _, _ in leaf.parts)

    @property
    def settings(self) -> dict[str, Any]:
        """The fields without the children."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "children"}  # type: ignore[arg-type]

    def __repr__(self) -> str:
        """The tree, with the settings that are not the defaults."""
        shown = [repr(child) if isinstance(child, Leaf | Method) else str(child) for child in self.children]
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name not in ("children", "kind") and value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def over(self, children: Sequence[Any], kind: Kind | None = None) -> Composition:
        """The same node over other children, all of a tree for one kind of site."""
        kind = kind or self.kind
        inner = [child.over(child.children, kind) if isinstance(child, Composition) else child for child in children]
        return type(self)(*inner, **{**self.settings, "kind": kind})

    def leaves(self) -> list[Leaf]:
        """The adapters in it, from left to right."""
        found: list[Leaf] = []
        for child in self.children:
            found += child.leaves() if isinstance(child, Composition) else [child]
        return found

    def sites(self) -> list[str]:
        """The sites of its kind that any of its adapters has, each once."""
        return list(dict.fromkeys(key for leaf in self.leaves() for key in leaf.sites(self.kind)))

    def describe(self) -> dict[str, Any]:
        return {"method": type(self).__name__, **self.settings, "children": [c.describe() for c in self.children]}

    def make(self, sites: Sequence[Site], look: Glimpse | None) -> list[AdapterModule]:
        found = {site.key: site for site in sites}
        if missing := [key for key in self.sites() if key not in found]:
            raise MethodError(f"{self} needs the site {missing[0]!r}, which it was not given")
        built = [self._built(child, found, look) for child in self.children]
        modules = [self.Module(self, site, [each.get(site.key) for each in built]) for site in sites]  # type: ignore[arg-type]
        self.tie(modules)  # type: ignore[arg-type]
        return modules  # type: ignore[return-value]

    def tie(self, modules: Sequence[Node]) -> None:
        """Share parameters of the node between its sites."""

    def _built(self, child: Any, sites: Mapping[str, Site], look: Glimpse | None) -> dict[str, AdapterModule]:
        if isinstance(child, Leaf):
            return child.make(sites, self.kind, look)
        own = [sites[key] for key in child.sites()]
        return dict(zip([site.key for site in own], child.make(own, look), strict=True))

    @classmethod
    def revive(cls, settings: Mapping[str, Any], depth: int = 0) -> Composition:
        """From the settings that `describe` gave; the text may come from a stranger's file."""
        children = settings.get("children")
        if not isinstance(children, list) or depth > _DEEPEST:
            raise MethodError(f"the children of a {cls.__name__} are not a list of trees at most {_DEEPEST} deep")
        own = {k: v for k, v in settings.items() if k not in ("children", "method")}
        if own.get("kind") not in ("weight", "call", "attention"):
            raise MethodError(f"a {cls.__name__} is of no kind {own.get('kind')!r}")
        return cls(*(_child(each, depth + 1) for each in children), **own)


def _child(described: Any, depth: int) -> Any:
    if not isinstance(described, dict):
        raise MethodError(f"a tree has the child {described!r}, which is neither an adapter nor a tree")
    if "leaf" not in described:
        node = compositions().get(str(described.get("method")))
        if node is None:
            raise MethodError(
                f"no composition is called {described.get('method')!r}: known are {', '.join(compositions())}"
            )
        return node.revive(described, depth)
    parts = described.get("parts")
    if not isinstance(parts, list):
        raise MethodError("an adapter in a tree does not say of which methods it is")
    return Leaf(str(described["leaf"]), tuple(_part(part) for part in parts), described.get("learns") is True)


def _part(part: Any) -> tuple[Method, tuple[str, ...], tuple[tuple[str, Measured], ...]]:
    sites = part.get("sites") if isinstance(part, dict) else None
    widths = part.get("widths", {}) if isinstance(part, dict) else None
    if not isinstance(sites, list) or not all(isinstance(key, str) for key in sites) or not isinstance(widths, dict):
        raise MethodError("a method in a tree does not say at which sites it sits")
    measured = {key: Measured.read(width) for key, width in widths.items()}
    if None in measured.values():
        raise MethodError("a method in a tree gives its sites widths that are none")
    method = Method.from_description({k: v for k, v in part.items() if k not in ("sites", "widths")})
    return method, tuple(sites), tuple((key, each) for key, each in measured.items() if each)


def compositions() -> dict[str, type[Composition]]:
    """Every node there is, by name: it exists by being a subclass, also in somebody else's package."""
    found: dict[str, type[Composition]] = {}
    pending = list(Composition.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if hasattr(cls, "Module"):
            found[cls.__name__] = cls
    return dict(sorted(found.items()))
