"""FROD: `FRoD`.

frod_lambda_l (in,), frod_lambda_s_values (places,) <-> lengths, values;  once for each part: frod_V, frod_s_indices, frod_s_size

A column of V has the sign there that its decomposition gave it, and here that of its largest entry; S lies between two.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acclimate.methods import FRoD
from acclimate.methods.joint_basis import Shared, shared_bases, upright
from acclimate.sites import Site
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.ranked import DEFAULTS, READS, adapted, written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_LENGTHS, _VALUES = "frod_lambda_l", "frod_lambda_s_values"
_BASIS, _PLACES, _SIZE = (f"base_model.frod_{name}" for name in ("V", "s_indices", "s_size"))


def _owns(piece: Piece) -> bool:
    return type(piece.method) is FRoD


def _read(given: Given, places: Places) -> list[Piece]:
    said = given.settings
    method = FRoD(
        density=said.number("sparse_rate", 0.01),
        ridge=said.number("regularization_alpha", 1e-3),
        seed=int(said.number("projection_prng_key", 0)),
    )
    order = {path: number for number, path in enumerate(places.modules)}
    found = sorted(adapted(given, places, _LENGTHS, _VALUES), key=lambda each: order[each[1].path])
    sites = [site for _, site in found]
    for site in sites:
        method.check_site(site)
    pieces: dict[int, Piece] = {}
    for each in _bases(method, sites, places):
        width = len(each.basis)
        basis, spots = each.basis, each.places
        if said.flag("save_projection"):
            basis = given.take(f"{_BASIS}.{each.part}", (width, width))
            here = each.basis * upright(each.basis)
            known = {_PLACES: spots, _SIZE: _size(basis)}
            alike = all(_same(given, f"{name}.{each.part}", tensor) for name, tensor in known.items())
            if not alike or (basis * upright(basis) - here).abs().max() > 0.02 * here.abs().max():
                raise PeftError(
                    f"the basis of {each.part!r} in {given.folder} is of another base: load it into its own"
                )
        for number in each.members:
            prefix, site = found[number]
            values = given.take(f"{prefix}{_VALUES}", (spots.shape[1],)) * _turned(basis, spots)
            pieces[number] = Piece(
                method, site, {"lengths": given.take(f"{prefix}{_LENGTHS}", (width,)), "values": values}
            )
    return [pieces[number] for number in range(len(sites))] + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    mine = [piece for piece in pieces if _owns(piece)]
    method = mine[0].method
    if not isinstance(method, FRoD) or any(piece.method != method for piece in mine):
        raise PeftError("PEFT has one setting for all of a FROD, and here are several: save them apart")
    tensors: dict[str, Tensor] = {}
    once: dict[str, Tensor] = {}
    for each in _bases(method, [piece.site for piece in mine], places):
        once[f"{_BASIS}.{each.part}"], once[f"{_PLACES}.{each.part}"] = each.basis.contiguous(), each.places
        once[f"{_SIZE}.{each.part}"] = _size(each.basis)
        for piece in (mine[number] for number in each.members):
            piece.expect(["lengths", "values"])
            tensors[f"{piece.site.path}.{_LENGTHS}"] = piece.tensors["lengths"]
            tensors[f"{piece.site.path}.{_VALUES}"] = piece.tensors["values"] * _turned(each.basis, each.places)
    settings = {"sparse_rate": method.density, "regularization_alpha": method.ridge, "projection_prng_key": method.seed}
    done = written(pieces, _owns, places, tensors, **settings)
    return Written({**once, **done.tensors}, done.settings)


def _bases(method: FRoD, sites: list[Site], places: Places) -> list[Shared]:
    """The bases of linear layers, where PEFT would find the same: it takes one matrix of a part from each layer."""
    for site in sites:
        places.alone(site)
        places.base(site.path, "weight")
    found = shared_bases(method, sites)
    if len({each.part for each in found}) < len(found):
        raise PeftError("modules of one name have several widths, for which PEFT has no basis: save them apart")
    for each in found:
        layers = [_layer(sites[number].path) for number in each.members]
        known = [layer for layer in layers if layer is not None]
        if len(set(known)) < len(known) or known != sorted(known):
            raise PeftError(
                f"PEFT takes one {each.part!r} from each layer into its basis, and here are others: save them apart"
            )
    return found


def _layer(path: str) -> int | None:
    """The number of the layer that PEFT takes a module to be in."""
    steps = path.split(".")
    after = steps[steps.index("layers") + 1 :][:1] if "layers" in steps else []
    return next((int(step) for step in [*after, *steps] if step.isdigit()), None)


def _same(given: Given, name: str, known: Tensor) -> bool:
    """Whether a tensor of whole numbers is what it is here."""
    held = given.left.pop(name, None)
    return held is not None and torch.equal(held, known)


def _size(basis: Tensor) -> Tensor:
    return torch.tensor(basis.shape)


def _turned(basis: Tensor, spots: Tensor) -> Tensor:
    """The sign by which each value of S differs here and there."""
    signs = upright(basis)
    return signs[spots[0]] * signs[spots[1]]


FORM = Form(
    "FROD",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        **{name: value for name, value in DEFAULTS.items() if name != "exclude_modules"},
        "bias": "none", "fan_in_fan_out": False, "frod_dropout": 0.0, "progressbar": True, "projection_prng_key": 0,
        "regularization_alpha": 1e-3, "runtime_offload_base_weight": False, "save_projection": True, "sparse_rate": 0.01,
    },
    reads=READS - {"r"} | {"sparse_rate", "regularization_alpha", "projection_prng_key", "save_projection"},
    harmless=frozenset({"fan_in_fan_out", "frod_dropout", "init_weights", "progressbar", "runtime_offload_base_weight"}),
)  # fmt: skip
