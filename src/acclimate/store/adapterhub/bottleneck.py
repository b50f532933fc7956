"""Bottlenecks of networks like BERT, whose blocks end in LN(dense(h) + x), as `Bottleneck` and `BeneathNorm`.

    double_seq_bn (Houlsby)    LN(A(dense(h)) + x)                Bottleneck at the dense layer
    seq_bn (Pfeiffer)          LN(h' + x + a(LN(h' + x)))         BeneathNorm at the norm
    par_bn, scaled_par_bn      LN(h' + x + s a(x))                BeneathNorm that reads its input, at the block's end
    adapter_plus               A(LN(h' + x))                      Bottleneck at the norm

A learned scale is read into the second matrix, which it multiplies.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from torch import Tensor

from acclimate.methods import BeneathNorm, Bottleneck
from acclimate.store.adapterhub.folder import Given
from acclimate.store.adapterhub.form import Form
from acclimate.store.adapterhub.layers import by_layer, left_out
from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_KIND, _DENSE, _NORM = "adapters", "dense", "LayerNorm"
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "swish": "silu", "silu": "silu", "tanh": "tanh", "linear": "identity"}
_ROLES = {
    "adapter_down.0.weight": "down",
    "adapter_down.0.bias": "down_bias",
    "adapter_up.weight": "up",
    "adapter_up.bias": "up_bias",
}
_DEFAULTS: dict[str, Any] = {
    "adapter_residual_before_ln": False, "cross_adapter": False, "dropout": 0.0, "factorized_phm_W": True,
    "factorized_phm_rule": False, "hypercomplex_nonlinearity": "glorot-uniform", "init_weights": "bert",
    "init_weights_seed": None, "inv_adapter": None, "inv_adapter_reduction_factor": None, "is_parallel": False,
    "learn_phm": True, "leave_out": [], "ln_after": False, "ln_before": False, "mh_adapter": False, "non_linearity": "relu",
    "original_ln_after": True, "original_ln_before": False, "output_adapter": True, "phm_bias": True, "phm_c_init": "normal",
    "phm_dim": 4, "phm_init_range": 0.0001, "phm_layer": False, "phm_rank": 1, "reduction_factor": 16,
    "residual_before_ln": True, "scaling": 1.0, "shared_W_phm": False, "shared_phm_rule": True, "stochastic_depth": 0.0,
    "use_gating": False,
}  # fmt: skip
_READ = frozenset(
    {
        "adapter_residual_before_ln", "cross_adapter", "dropout", "init_weights", "init_weights_seed", "is_parallel",
        "leave_out", "mh_adapter", "non_linearity", "original_ln_after", "original_ln_before", "output_adapter",
        "reduction_factor", "residual_before_ln", "scaling", "stochastic_depth",
    }
)  # fmt: skip

_Place = tuple[type[Bottleneck], str, str]
"""A method, what it reads, and where under the block's end it sits."""
_PARALLEL: _Place = (BeneathNorm, "input", "")
_HOULSBY: _Place = (Bottleneck, "output", _DENSE)
_PFEIFFER: _Place = (BeneathNorm, "output", _NORM)
_PLUS: _Place = (Bottleneck, "output", _NORM)
_SAID: dict[_Place, dict[str, Any]] = {
    _PARALLEL: {"is_parallel": True},
    _HOULSBY: {"original_ln_before": False},
    _PFEIFFER: {"original_ln_before": True},
    _PLUS: {"original_ln_before": True, "original_ln_after": False, "residual_before_ln": False},
}


def _place(given: Given) -> _Place:
    def said(key: str) -> Any:
        return given.config.get(key, _DEFAULTS[key])

    before, after, kept = said("original_ln_before"), said("original_ln_after"), said("residual_before_ln")
    if said("is_parallel") and after is True:
        return _PARALLEL
    if before is False and after is True and isinstance(kept, bool):
        return _HOULSBY
    if before is True and after is True and kept is True:
        return _PFEIFFER
    if before is True and after is False and kept is False:
        return _PLUS
    raise HubError(
        f"{given.folder} puts its bottlenecks where no method here does: original_ln_before={before!r}, original_ln_after="
        f"{after!r}, residual_before_ln={kept!r}"
    )


def _read(given: Given, places: Places) -> list[Piece]:
    given.only(_DEFAULTS, _READ)
    cls, reads, under = _place(given)
    named = given.config.get("non_linearity")
    activation = _ACTIVATIONS.get(str(named).lower())
    if activation is None or (activation == "gelu" and not given.versioned):
        raise HubError(f"{given.folder} bends by {str(named)[:40]!r} of its version, which no bottleneck here does")
    learned = given.config.get("scaling", 1.0) in ("learned", "channel")
    scale = 1.0 if learned else given.number("scaling", 1.0)
    pieces: list[Piece] = []
    for path, names in given.by_module(_KIND).items():
        hidden = _width(places, path, str(given.folder))
        down = given.take(names.get("adapter_down.0.weight", f"{path}.adapter_down.0.weight"), None, hidden)
        width = len(down)
        shapes: dict[str, tuple[int, ...]] = {
            "adapter_down.0.bias": (width,),
            "adapter_up.weight": (hidden, width),
            "adapter_up.bias": (hidden,),
        }
        held = {"down": down}
        for role, shape in shapes.items():
            held[_ROLES[role]] = given.take(names.get(role, f"{path}.{role}"), *shape)
        if learned:
            factor = given.take(names.get("scaling", f"{path}.scaling"), None)
            if len(factor) not in (1, hidden):
                raise HubError(f"{given.folder} scales {path!r} by {len(factor)} numbers, and it has {hidden} channels")
            held |= {"up": held["up"] * factor[:, None], "up_bias": held["up_bias"] * factor}
        method = cls(width=width, activation=activation, reads=reads, scale=scale)  # type: ignore[arg-type]
        site = places.calls[f"{path}.{under}" if under else path]
        site = site if site.channels else dataclasses.replace(site, channels=hidden)
        pieces.append(Piece(method, site, held))
    return pieces


def _width(places: Places, path: str, source: str) -> int:
    """The channels of a block's end, if it is one: something that adds and norms."""
    dense, norm = (places.modules.get(f"{path}.{child}") for child in (_DENSE, _NORM))
    if dense is None or norm is None:
        raise HubError(
            f"{source} puts a bottleneck at {path!r}, a {places.type(path)}: those of networks like BERT alone have a form here, "
            f"whose blocks end in {_DENSE} and {_NORM}"
        )
    return places.at(f"{path}.{_DENSE}", "weight", source)[0].shape[-2]


def _write(pieces: list[Piece], places: Places) -> tuple[dict[tuple[str, str, str], Tensor], dict[str, Any]]:
    tensors: dict[tuple[str, str, str], Tensor] = {}
    found: set[tuple[Any, ...]] = set()
    factors: dict[str, float] = {}
    blocks: dict[str, object] = {}
    for piece in pieces:
        method, path = piece.method, piece.site.path
        assert isinstance(method, Bottleneck)
        under = next((each for each in (_DENSE, _NORM) if path.endswith(f".{each}")), "")
        block = path.removesuffix(f".{under}") if under else path
        place = (type(method), method.reads, under)
        if place not in _SAID:
            raise HubError(
                f"{method} at {piece.site.key} is where AdapterHub has no bottleneck: save it with adapter.save"
            )
        found.add((place, method.activation, method.scale))
        hidden = _width(places, block, "the adapter")
        layer = str(min(by_layer({block: None})))
        factor = _factor(hidden, method.width)
        if block in blocks or factors.setdefault(layer, factor) != factor:
            raise HubError(f"{block!r} has a second bottleneck or another width than its layer, and AdapterHub has one")
        blocks[block] = None
        tensors |= {(block, _KIND, role): piece.tensors[ours] for role, ours in _ROLES.items()}
    if len(found) > 1:
        raise HubError("AdapterHub has one kind of bottleneck in an adapter, and this one has several: save them apart")
    ((place, activation, scale),) = found
    at, leave_out = left_out(by_layer(blocks), places)
    named = next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == activation)
    usual = next(iter(factors.values()))
    settings = {
        **_DEFAULTS, **_SAID[place], "non_linearity": named, "scaling": float(scale), "leave_out": leave_out,
        "mh_adapter": "attention.output" in at, "output_adapter": "output" in at,
        "reduction_factor": usual if set(factors.values()) == {usual} else {**factors, "default": usual},
    }  # fmt: skip
    if odd := sorted(at - {"attention.output", "output"}):
        raise HubError(f"AdapterHub has no bottlenecks at {odd[0]!r} of a layer: save it with adapter.save")
    return tensors, settings


def _factor(hidden: int, width: int) -> float:
    """What the hidden size is divided by, rounding down, to give the width.

    >>> _factor(16, 4), 16 // _factor(16, 3)
    (4, 3.0)
    """
    if hidden % width == 0:
        return hidden // width
    factor = hidden / width
    return factor if int(hidden // factor) == width else hidden / (width + 0.5)


FORM = Form(
    "bottleneck",
    means=lambda config: config.get("architecture") is None and bool(re.search("non_linearity", " ".join(config))),
    owns=lambda piece: type(piece.method) in (Bottleneck, BeneathNorm),
    read=_read,
    write=_write,
)
