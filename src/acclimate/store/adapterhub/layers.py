"""Which layers of a model an adapter is in: settings name kinds of places, and the layers that are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping

from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.places import Places

__all__ = ["by_layer", "left_out"]

_LAYER = re.compile(r"(.*\blayer)\.(\d+)\.(.*)")


def by_layer(paths: Mapping[str, object]) -> dict[int, set[str]]:
    """What stands in each layer, by the layer's number.

    >>> by_layer({"encoder.layer.0.output.dense": 1})
    {0: {'output.dense'}}
    """
    found: dict[int, set[str]] = {}
    for path in paths:
        met = _LAYER.fullmatch(path)
        if met is None:
            raise HubError(
                f"{path!r} is in no numbered layer, and AdapterHub only adapts those: save it with adapter.save"
            )
        found.setdefault(int(met[2]), set()).add(met[3])
    return found


def left_out(found: Mapping[int, set[str]], places: Places) -> tuple[set[str], list[int]]:
    """The places that every adapted layer has, and the numbers of the layers that have none."""
    kinds = [frozenset(each) for each in found.values()]
    odd = next((layer for layer, each in found.items() if frozenset(each) != kinds[0]), None)
    if odd is not None:
        raise HubError(
            f"layer {odd} is adapted at other places than the rest, and AdapterHub has one choice for all layers: save it "
            "with adapter.save"
        )
    every = {int(met[2]) for path in places.modules if (met := _LAYER.fullmatch(path))}
    return set(kinds[0]), sorted(every - found.keys())
