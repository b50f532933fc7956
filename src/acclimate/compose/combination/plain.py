"""Updates by site made one plain adapter: LoRA where an update is a product, the difference as it is where it is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from acclimate.compose.combination.update import Update, total
from acclimate.engine import Adapter, Method, MethodError
from acclimate.engine.files import sites_of
from acclimate.engine.placing import seat
from acclimate.engine.registry import Part
from acclimate.methods import Full, LoRA
from acclimate.sites import Measured, Site

__all__ = ["Combined", "Parameters", "plain"]

Parameters = dict[Method, dict[str, dict[str, Tensor]]]
"""Tensors by role, by site, by method."""


@dataclass(frozen=True)
class Combined(Adapter):
    """An adapter, and what cutting its rank cost: by site, the size of what is missing over that of the whole."""

    errors: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def error(self) -> float:
        """The largest of the errors; 0 where nothing was cut."""
        return max(self.errors.values(), default=0.0)


def plain(
    model: nn.Module,
    name: str,
    updates: Mapping[str, Update],
    cut: Callable[[Update], Update] | None = None,
    others: Parameters | None = None,
    widths: Mapping[str, Measured] | None = None,
) -> Combined:
    """Make the adapter, resident and enabled; ``others`` are parameters of methods that are no update of a weight."""
    errors: dict[str, float] = {}
    made: Parameters = {}
    for key, update in updates.items():
        kept = update if cut is None else cut(update)
        if kept is not update:
            errors[key] = float(total([update, kept], [1.0, -1.0]).norm() / update.norm().clamp_min(1e-30))
        if kept.whole is not None:
            made.setdefault(Full(), {})[key] = {"delta": kept.whole.float()}
        elif kept.rank:
            down, up = kept.factors
            made.setdefault(LoRA(rank=kept.rank), {})[key] = {"down": down.float(), "up": up.float()}
    for method, each in (others or {}).items():
        made.setdefault(method, {}).update(each)
    if not made:
        raise MethodError(f"nothing is left to make {name!r} of: every update is zero")
    wide = widths or {}
    parts = [Part(method, tuple(each), {k: wide[k] for k in each if k in wide}) for method, each in made.items()]
    named: dict[str, Tensor] = {}
    found: dict[str, Site] = {}
    for index, (part, each) in enumerate(zip(parts, made.values(), strict=True)):
        found |= sites_of(model, [part])
        for key, roles in each.items():
            named |= {f"{index}/{key}/{role}": tensor.contiguous() for role, tensor in roles.items()}
    seat(model, name, parts, found, named, lambda expected: None)
    return Combined(model, name, errors)
