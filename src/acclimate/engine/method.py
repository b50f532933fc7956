"""A method is a small frozen description; its `Module` is what it puts at one site, as one or more faces.

A face is a function the engine calls at the right moment:

    weight(W) -> W             the matrix (out, in), wherever and however often the model reads it
    bias(b) -> b               the bias beside it; ``b`` is None where the base has none
    input(x) -> x              the first argument of the module's call; at a weight, what the matrix multiplies
    output(x, y) -> y          after the call
    beside(x, y, W, b) -> y    after the call, for what needs the matrix and the bias that the call had
    around(call, *args)        the call itself, which may run on fewer tokens, twice or not at all
    queries(q) -> q            (rows, heads, tokens, width), before the attention
    keys_values(k, v) -> k, v  the same; they may get longer at their front
    attention_map(A) -> A      the map after its softmax, (rows, heads, queries, keys)
    attend(call, q, k, v, scale) -> y   the whole attention; ``call(q, k, v)`` is the base's, softmax(scale q k^T) v
    among(run, q) -> y         the whole attention with other modules in this one's place: ``run([module, ...])``

At a weight, ``input``, ``output`` and ``beside`` are cheaper ways to what ``weight`` says, where a module has both.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, dataclass_transform

import torch
from torch import Tensor, nn

from acclimate.sites import Kind, Layout, Site

if TYPE_CHECKING:
    from acclimate.engine.glimpse import Glimpse

__all__ = ["FACES", "AdapterModule", "Method", "MethodError", "Order", "methods"]

Order = Literal["shuffled", "correlated", "any"]
"""Classes mixed in every batch, or coming in runs, or whatever it is."""

FACES = (
    "weight", "bias", "input", "output", "beside", "around", "queries", "keys_values", "attention_map", "attend", "among"
)  # fmt: skip
_FACES_OF: dict[Kind, tuple[str, ...]] = {
    "weight": ("weight", "bias", "input", "output", "beside"),
    "call": ("input", "output", "around"),
    "attention": ("queries", "keys_values", "attention_map", "attend", "among"),
}


class MethodError(ValueError):
    """A method was described in a way that cannot work."""


class AdapterModule(nn.Module):
    """What a method puts at one site. A subclass writes `build`, which makes the parameters, and the faces.

    The name of a parameter is its role (``down``, ``up``, ``magnitude``): rules give learning rates by it.
    """

    broadcasts: ClassVar[bool] = False
    """The faces take parameters with one more axis in front, one entry for each row of the batch."""
    through: ClassVar[Literal["project", "scale"]] = "project"
    """What the output face at a weight asks of the module's call: that it is linear in the matrix, or only that
    factors on the matrix's rows are factors on the output's channels."""
    faces: ClassVar[frozenset[str]] = frozenset()
    units: ClassVar[Mapping[str, int]] = {}
    """For each parameter that hidden units own a slice of, their axis: units can change places and nothing else changes."""

    turn: int = 0
    """Its number among the modules that its method made together, in the order of sites."""
    turns: int = 1
    """How many those are."""
    owner: str = ""
    """The adapter it belongs to, where its method relays."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.faces = frozenset(name for name in FACES if callable(getattr(cls, name, None)))

    def __init__(self, method: Any, site: Site, shared: Mapping[str, nn.Parameter] | None = None) -> None:
        super().__init__()
        self.method = method
        self.layout: Layout = site.layout
        for name, parameter in (shared or {}).items():
            self.register_parameter(name, parameter)
        self.build(site)

    def build(self, site: Site) -> None:
        """Make the parameters for one site. The global random state is the caller's: draw from it freely."""

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """The update as a product ``B A``, (A, B) of shapes (rank, in) and (out, rank), where it is one whatever W is."""
        return None

    def observe(self, x: Tensor, y: Tensor, feedback: Tensor | None = None) -> None:
        """Learn from what passed, for methods that are updated by data and not by gradient: what an output face was given, (what
        entered, what the site gave); of an input face alone, what it was given and what it gave. Labels or truths of these rows
        may come later, as ``feedback``. What is learned is kept in persistent buffers of a fixed size."""


@dataclass_transform(frozen_default=True)
class Method:
    """A frozen description of what to put at sites: its fields are its settings.

    A subclass is a dataclass without a decorator and is found by existing. ``kind`` says where it sits and
    ``at`` where by default. ``learning_rate`` is what its parameters want; ``exceptions`` names the laws it
    declares itself free of, each with its reason. ``coupled`` says that rows of a batch see one another.
    """

    kind: ClassVar[Kind] = "weight"
    at: ClassVar[str] = "all"
    learning_rate: ClassVar[float] = 1e-3
    rates: ClassVar[Mapping[str, float]] = {}
    exceptions: ClassVar[Mapping[str, str]] = {}
    coupled: ClassVar[bool] = False
    relays: ClassVar[bool] = False
    """Its modules hand values to one another in each forward (`acclimate.engine.relay`)."""
    expects: ClassVar[Order] = "any"
    """The order of a stream that it does good in."""
    composes: ClassVar[bool] = False
    """It acts through other adapters, which it is made of."""
    Module: ClassVar[type[AdapterModule]]

    def __init_subclass__(cls, init: bool = True) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(init=init, frozen=True, repr=False)(cls)
        module = cls.__dict__.get("Module")
        if module is not None:
            module.__qualname__ = f"{cls.__qualname__}.Module"

    def __repr__(self) -> str:
        """The settings that are not the defaults."""
        own = [f for f in dataclasses.fields(self) if getattr(self, f.name) != f.default]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in own)})"

    def refuses(self, site: Site) -> str:
        """Why this method cannot work at a site, as the end of a sentence that its name begins; nothing where it can."""
        return ""

    def fits(self, site: Site) -> bool:
        """Whether ``at="all"``, or a glob over modules, takes this site."""
        return not self.refuses(site)

    def share(self, sites: Sequence[Site], look: Glimpse | None) -> list[Mapping[str, nn.Parameter]]:
        """Parameters by site, made for all sites at once: plan here over them, and share between them.

        ``look`` shows the model and the batch given to attach; None where the values will come from a file.
        """
        return [{} for _ in sites]

    def make(self, sites: Sequence[Site], look: Glimpse | None) -> list[AdapterModule]:
        """A module for each site."""
        shared = self.share(sites, look)
        modules = [self.Module(self, site, own) for site, own in zip(sites, shared, strict=True)]
        for turn, module in enumerate(modules):
            module.turn, module.turns = turn, len(modules)
        return modules

    @property
    def looks(self) -> bool:
        """Whether it has to see a batch before it is attached."""
        return False

    def check_site(self, site: Site) -> None:
        """Raise a `MethodError` where this method cannot work at a site that was named."""
        faces = self.Module.faces.intersection(_FACES_OF[site.kind])
        if site.kind == "weight" and "weight" not in faces and not site.layout.scales:
            raise MethodError(f"{self} acts on outputs, and {site.key} ({site.type}) has no call of its own")
        if reason := self.refuses(site):
            found = f" of shape {site.shape}" if site.kind == "weight" else ""
            raise MethodError(f"{self} {reason}, and {site.key} is a {site.type}{found}")

    def describe(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        fields: dict[str, Any] = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {"method": type(self).__name__, **fields}

    @staticmethod
    def from_description(description: Mapping[str, Any]) -> Method:
        """The inverse of `describe`; the text may come from a stranger's file."""
        settings = dict(description)
        name = settings.pop("method", None)
        found = _every().get(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(sorted(methods()))
            raise MethodError(
                f"no method is called {name!r}: known are {known}; import the package that defines it first"
            )
        return found.revive(settings)

    @classmethod
    def revive(cls, settings: Mapping[str, Any]) -> Method:
        """A method from the settings in its description."""
        fields = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(settings) - fields)
        if unknown:
            raise MethodError(
                f"{cls.__name__} has no setting {unknown[0]!r}: it has {', '.join(sorted(fields)) or 'none'}"
            )
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
        except TypeError as error:
            raise MethodError(f"{cls.__name__} cannot be made of {dict(settings)}: {error}") from error

    @property
    def signature(self) -> str:
        return json.dumps(self.describe(), sort_keys=True)


def methods() -> dict[str, type[Method]]:
    """Every method there is, by name: a method exists by being a subclass, also in somebody else's package."""
    return {name: cls for name, cls in _every().items() if not cls.composes}


def _every() -> dict[str, type[Method]]:
    for room in ("acclimate.methods", "acclimate.compose"):  # above this floor, and nothing of it is used here
        importlib.import_module(room)
    found: dict[str, type[Method]] = {}
    pending = list(Method.__subclasses__())
    while pending:
        cls = pending.pop()
        pending += cls.__subclasses__()
        if "Module" in vars(cls) or any("Module" in vars(base) for base in cls.__mro__[1:-1]):
            found[cls.__name__] = cls
    return dict(sorted(found.items()))


def positive(method: Method, **values: float) -> None:
    """Refuse settings that must be above zero and are not."""
    for name, value in values.items():
        if not value > 0:
            raise MethodError(f"{type(method).__name__}({name}={value}) cannot work: {name} must be above 0")


def no_matrix(site: Site, by: int = 1) -> str:
    """Why a site is not one matrix whose sides ``by`` divides, for `Method.refuses`; nothing where it is."""
    if len(site.shape) != 2 or min(site.shape) < 2:
        return "needs a single matrix"
    return f"needs a matrix whose sides {by} divides" if any(side % by for side in site.shape) else ""


def normal(shape: Sequence[int], deviation: float, like: Site) -> nn.Parameter:
    """A float32 parameter drawn from N(0, deviation) on the site's device."""
    return nn.Parameter((torch.randn(*shape) * deviation).to(like.device))


def zeros(shape: Sequence[int], like: Site) -> nn.Parameter:
    """A float32 parameter of zeros on the site's device."""
    return nn.Parameter(torch.zeros(*shape, device=like.device))


def ones(shape: Sequence[int], like: Site) -> nn.Parameter:
    """A float32 parameter of ones on the site's device."""
    return nn.Parameter(torch.ones(*shape, device=like.device))
