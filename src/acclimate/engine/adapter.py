"""Putting adapters into a model and taking them out again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from acclimate.engine.context import selecting
from acclimate.engine.glimpse import Glimpse
from acclimate.engine.measure import measured
from acclimate.engine.method import AdapterModule, Method
from acclimate.engine.patch import dress
from acclimate.engine.placing import build, forget, hang, make_attached, make_resident, place, registry_for
from acclimate.engine.registry import Entry, Part, Rounding, registry_of
from acclimate.sites import At, Site, select

if TYPE_CHECKING:
    from acclimate.engine.check import Effect
    from acclimate.engine.cost import Cost

__all__ = ["Adapter", "Adapters", "adapters", "attach", "only"]


@dataclass(frozen=True)
class Adapter:
    """A handle on one adapter of one model, by name."""

    model: nn.Module
    name: str

    @property
    def entry(self) -> Entry:
        registry = registry_of(self.model)
        if registry is None or self.name not in registry.entries:
            raise KeyError(
                f"the model has no adapter {self.name!r}: it has {', '.join(adapters(self.model)) or 'none'}"
            )
        return registry.entries[self.name]

    @property
    def enabled(self) -> bool:
        return self.entry.enabled

    @property
    def merged(self) -> bool:
        return self.entry.merged

    @property
    def resident(self) -> bool:
        """Whether its tensors lie in a slab; training attaches it."""
        return self.entry.slab is not None

    @property
    def parts(self) -> list[Part]:
        """The methods it is made of, each with the keys of its sites."""
        return self.entry.parts

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, each once; a resident adapter is attached first."""
        return list(dict.fromkeys(p for _, p in self.named_parameters()))

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters by ``part/site/role``, shared ones under every name."""
        make_attached(self.model, self.entry)
        for name, tensor in self.entry.tensors().items():
            if isinstance(tensor, nn.Parameter):
                yield name, tensor

    def rated(self) -> list[tuple[str, nn.Parameter, float]]:
        """The trainable parameters, each once, by ``part/site.role``, with the learning rate its method wants."""
        found: dict[nn.Parameter, tuple[str, float]] = {}
        for name, parameter in self.named_parameters():
            place, _, role = name.rpartition("/")
            method = self.parts[int(name.partition("/")[0])].method
            found.setdefault(parameter, (f"{place}.{role}", method.rates.get(role, method.learning_rate)))
        return [(name, parameter, rate) for parameter, (name, rate) in found.items()]

    def tensors(self) -> dict[str, Tensor]:
        """Everything it is, by ``part/site/role``: parameters and state, views where it is resident."""
        return self.entry.tensors()

    def modules(self) -> Iterator[tuple[str, AdapterModule]]:
        """Its modules by site key, attached first."""
        make_attached(self.model, self.entry)
        for _, key, module in self.entry.each():
            yield key, module

    def enable(self) -> Adapter:
        return self._switch(True)

    def disable(self) -> Adapter:
        return self._switch(False)

    def _switch(self, enabled: bool) -> Adapter:
        self.entry.enabled = enabled
        registry_for(self.model).refresh()
        return self

    def rest(self) -> Adapter:
        """Make it resident: its tensors go to a slab and leave the module tree."""
        make_resident(self.model, self.entry)
        return self

    def copy(self, name: str) -> Adapter:
        """Another of the same methods at the same sites with the same values, attached and disabled."""
        return copied(self, name)

    def detach(self) -> None:
        """Take it out. The last one out leaves the model as it came in."""
        detach(self.model, self.name)

    def merge(self, keep: bool = True, requantise: bool = False) -> Adapter | nn.Module:
        """Fold it into the base's weights; ``keep=False`` forgets it and gives the model.

        A weight that is held in few bits becomes plain numbers; with ``requantise`` it is held as before, and
        `roundings` says what that cost.
        """
        from acclimate.engine.merge import merge

        merge(self.model, self.entry, requantise)
        if keep:
            return self
        forget(self.model, self.name)
        return self.model

    @property
    def roundings(self) -> dict[str, Rounding]:
        """What requantising rounded off merged weights, by the parameter's name."""
        return {f"{path}.{name}": found for (path, name), found in registry_for(self.model).roundings.items()}

    def unmerge(self) -> Adapter:
        """Take it out of the base's weights again, to the bit."""
        from acclimate.engine.merge import unmerge

        unmerge(self.model, self.entry)
        return self

    def save(self, path: str | Path, references: Sequence[str | Path] = ()) -> Path:
        """Write it alone to a safetensors file, beside the old one and then renamed over it.

        Tensors that adapter files in its folder, ``references``, hold already are not written again but referred to.
        """
        from acclimate.engine.files import save

        return save(self, Path(path), [Path(each) for each in references])

    def check(self, batch: Any) -> Effect:
        """Show that every site has an effect on this batch, in every mode; refuse one that has none."""
        from acclimate.engine.check import check

        return check(self, batch)

    def cost(self, batch: Any) -> Cost:
        """Parameters, bytes, FLOPs and bytes saved for backward, as a run on this batch shows them."""
        from acclimate.engine.cost import cost

        return cost(self, batch)


class Adapters(MutableMapping[str, Adapter]):
    """The adapters of a model by name, in the order in which they act. ``del`` detaches."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __getitem__(self, name: str) -> Adapter:
        if name not in self:
            raise KeyError(f"the model has no adapter {name!r}: it has {', '.join(map(repr, self)) or 'none'}")
        return Adapter(self.model, name)

    def __contains__(self, name: object) -> bool:
        registry = registry_of(self.model)
        return registry is not None and name in registry.entries

    def __setitem__(self, name: str, adapter: Adapter) -> None:
        raise TypeError("adapters come from acc.attach and acc.load, which give them their name")

    def __delitem__(self, name: str) -> None:
        self[name].detach()

    def __iter__(self) -> Iterator[str]:
        registry = registry_of(self.model)
        return iter(list(registry.entries) if registry else [])

    def __len__(self) -> int:
        registry = registry_of(self.model)
        return len(registry.entries) if registry else 0


def adapters(model: nn.Module) -> Adapters:
    """The adapters a model carries."""
    return Adapters(model)


Methods = Method | Mapping[Method, At]


def attach(
    model: nn.Module,
    method: Methods,
    at: At | None = None,
    name: str = "adapter",
    data: Any = None,
    seed: int = 0,
) -> Adapter:
    """Put a method, or several as ``{method: at}``, at sites of a model, as one adapter that can be trained.

    ``data`` is one batch, for methods that look at some first. The base is frozen while adapters are there, and
    the global random state is left as it was; ``seed`` decides what is drawn. Nothing changes if this raises.

    >>> from acclimate.methods import LoRA
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> adapter = attach(model, LoRA(rank=2), at="2", name="v1.2")
    >>> [tuple(p.shape) for p in adapter.parameters()]
    [(2, 4), (2, 2)]
    """
    taken(model, name)
    parts, chosen = choose(model, method, at, data)
    entry = Entry(name, parts, build(parts, chosen, Glimpse(model, data), seed))
    return enter(model, entry, chosen)


def choose(model: nn.Module, method: Methods, at: At | None, data: Any) -> tuple[list[Part], list[list[Site]]]:
    """The sites that methods go to, each part with its own; the model is only looked at."""
    wanted = dict(method) if isinstance(method, Mapping) else {method: at}
    parts: list[Part] = []
    chosen: list[list[Site]] = []
    for each, where in wanted.items():
        found = select(model, each.at if where is None else where, each.kind, each.fits, repr(each))
        shown = measured(model, found, data)
        parts.append(Part(each, tuple(site.key for site in found), shown))
        chosen.append([site.seen(shown[site.key]) if site.key in shown else site for site in found])
        for site in chosen[-1]:
            each.check_site(site)
    return parts, chosen


@torch.no_grad()
def copied(adapter: Adapter, name: str) -> Adapter:
    """The adapter once more under another name, disabled."""
    made = again(adapter, name, [part.method for part in adapter.parts])
    held = adapter.tensors()
    for role, tensor in made.tensors().items():
        tensor.copy_(held[role])
    return made.disable()


def again(adapter: Adapter, name: str, methods: Sequence[Method]) -> Adapter:
    """An adapter at the same sites, of these methods, a part each; its values are of the right shapes and mean nothing yet."""
    from acclimate.engine.files import sites_of

    taken(adapter.model, name)
    parts = [Part(m, part.keys, dict(part.widths)) for m, part in zip(methods, adapter.parts, strict=True)]
    found = sites_of(adapter.model, parts)
    chosen = [[found[key] for key in part.keys] for part in parts]
    return enter(adapter.model, Entry(name, parts, build(parts, chosen, None, 0)), chosen)


def enter(model: nn.Module, entry: Entry, chosen: list[list[Site]]) -> Adapter:
    """Put modules that were made for these sites there, attached and enabled."""
    registry = registry_for(model)
    place(model, registry, {site.key: site for found in chosen for site in found}, entry)
    registry.entries[entry.name] = entry
    hang(model, registry, entry)
    registry.refresh()
    return Adapter(model, entry.name)


def taken(model: nn.Module, name: str) -> None:
    if name in adapters(model):
        raise ValueError(f"the model already has an adapter {name!r}: detach it or give another name")


def detach(model: nn.Module, name: str) -> None:
    entry = Adapter(model, name).entry
    if entry.merged:
        Adapter(model, name).unmerge()
    forget(model, name)


@contextmanager
def only(model: nn.Module, *names: str) -> Iterator[None]:
    """Use these adapters alone in this thread, whatever is enabled; with no name, the base: a teacher for free.

    >>> from acclimate.methods import LoRA
    >>> model, x = nn.Linear(2, 2), torch.ones(1, 2)
    >>> before = model(x)
    >>> for p in attach(model, LoRA(rank=1), at="weight").parameters():
    ...     nn.init.ones_(p).sum().item()
    2.0
    2.0
    >>> with only(model):
    ...     torch.equal(model(x), before)
    True
    """
    registry = registry_of(model)
    if registry is None:
        if names:
            raise KeyError(f"the model has no adapter {names[0]!r}: it has none")
        yield
        return
    chosen = tuple(Adapter(model, name).entry for name in names)
    if registry.merged:
        raise ValueError("an adapter is merged into the base, so acc.only cannot leave it out: unmerge it first")
    dress(model, "", registry, None).plain = True
    with selecting(registry, chosen):
        yield
