"""Whole parameters: PEFT keeps the new values, an adapter here what was added to the base's or multiplied with them."""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods import Affine, Full, Scale
from acclimate.store.peft.folder import Given
from acclimate.store.peft.refusal import PeftError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["moved", "same_state", "values", "whole"]

Values = dict[str, dict[str, Tensor]]
"""New values by module path and attribute."""


def moved(given: Given, places: Places, name: str, path: str, attribute: str) -> list[Piece]:
    """The pieces that bring a parameter to the values of a tensor of the folder."""
    if path not in places.modules:
        raise PeftError(f"{given.folder} was made for another base: it saves {path!r}, which is not in this model")
    if attribute not in places.modules[path]._parameters:
        same_state(given, places, name, path, attribute)
        return []
    sites = places.at(path, attribute, given.folder)
    base = places.base(path, attribute)
    new = given.take(name, tuple(base.shape)).to(base.device)
    pieces = []
    for site in sites:
        matrix = site.layout.matrix(new)
        rows = matrix if site.part is None else matrix[site.part[0] : site.part[1]]
        pieces.append(Piece(Full(), site, {"delta": (rows - site.value().float()).contiguous()}))
    return pieces


def same_state(given: Given, places: Places, name: str, path: str, attribute: str) -> None:
    """A buffer, or a copy of the base's weight, says nothing if it has the base's values; refuse it if it has others."""
    held = places.modules[path]
    if attribute not in held._buffers and attribute not in held._parameters:
        raise PeftError(f"{given.folder} holds {name}, and {path!r} is a {places.type(path)} without {attribute!r}")
    base = places.base(path, attribute)
    new = given.left.pop(name)
    if new.shape != base.shape or not torch.equal(new.to(base), base):
        raise PeftError(
            f"{name} in {given.folder} has other values than this model, and is no parameter that an adapter can hold: "
            "load it into its own base"
        )


def values(pieces: list[Piece], places: Places) -> Values:
    """The values that parameters have under these pieces, which act in their order."""
    found: Values = {}

    def now(path: str, attribute: str) -> Tensor:
        held = found.setdefault(path, {})
        return held.setdefault(attribute, places.base(path, attribute).float())

    for piece in pieces:
        site, (path, attribute) = piece.site, (piece.site.path, piece.site.readers[0].attribute)
        places.alone(site)
        start, stop = site.part or (0, None)
        matrix = site.layout.matrix(now(path, attribute)).clone()
        if isinstance(piece.method, Full):
            piece.expect(["delta"])
            matrix[start:stop] += piece.tensors["delta"].to(matrix)
        elif type(piece.method) in (Affine, Scale):
            piece.expect(["scale", "shift"])
            scale = piece.tensors["scale"].to(matrix)
            matrix[start:stop] *= scale.unsqueeze(-1)
            bias = site.readers[0].bias
            if bias is not None and places.modules[path]._parameters.get(bias) is not None:
                offset = now(path, bias).clone()
                rows = offset.reshape(-1)[start:stop]
                rows.mul_(scale)
                rows.add_(piece.tensors.get("shift", torch.zeros(())).to(rows))
                found[path][bias] = offset
            elif "shift" in piece.tensors:
                raise places.error(
                    f"{piece.method} shifts {site.key}, and {places.library} cannot give its {site.type} a bias"
                )
        else:
            raise places.error(
                f"{places.library} cannot hold {piece.method} at {site.key}: it is no change of a parameter's values"
            )
        found[path][attribute] = site.layout.restore(matrix).contiguous()
    return found


def whole(changed: Values, places: Places, infix: str = "") -> dict[str, Tensor]:
    """The state of every changed module as PEFT saves it: the changed values, and the others as the base has them."""
    tensors: dict[str, Tensor] = {}
    for path, held in changed.items():
        module = places.modules[path]
        if any(name != "_acclimate" and child is not None for name, child in module._modules.items()):
            raise PeftError(
                f"{path!r} holds other modules, and PEFT would save all of them: it saves whole modules only"
            )
        passing = module._non_persistent_buffers_set
        names = [n for n, p in module._parameters.items() if p is not None]
        names += [n for n, b in module._buffers.items() if b is not None and n not in passing]
        for name in names:
            tensors[f"{path}{infix}.{name}"] = held.get(name, places.base(path, name))
    return tensors
