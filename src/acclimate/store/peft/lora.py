"""LORA: `LoRA` and `DoRA` at linear layers, transformers' Conv1D, convolutions and embeddings, and the variants beside them.

    lora_A <-> down    lora_B <-> up    lora_magnitude_vector <-> magnitude      the same numbers in other shapes

PEFT adapts a fused projection (GPT-2's c_attn) as one matrix, here its parts are sites. Read, the parts share one
``down``; written, parts that do not share it are stacked.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from acclimate.methods import DoRA, LoRA
from acclimate.sites import Site
from acclimate.sites.layout import Matrix, Transposed
from acclimate.store.peft.biases import read_biases, read_offset, write_biases
from acclimate.store.peft.factors import MAGNITUDE, Shapes, joined, magnitude
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.pattern import first, names, shortest
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved, write_saved
from acclimate.store.peft.variants import VARIANTS, variant_of
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM", "fan_in_fan_out", "usual"]

_TENSORS = ("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B", MAGNITUDE)
_BASE_STAYS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Initialisations that leave the base alone; the others changed it, and the file does not say to what."""


def _read(given: Given, places: Places) -> list[Piece]:
    settings = given.settings
    start = settings.values.get("init_lora_weights")
    if start not in _BASE_STAYS:
        raise PeftError(
            f"{settings.path} says init_lora_weights={str(start)[:40]!r}, which changed the base's own weights: save it "
            "from PEFT with path_initial_model_for_weight_conversion, which makes it a plain LoRA"
        )
    alpha, alphas = settings.number("lora_alpha", 8), settings.numbers("alpha_pattern")
    rank, ranks = settings.number("r", 8), settings.numbers("rank_pattern")
    dora, stable = settings.flag("use_dora"), settings.flag("use_rslora")
    dropout, variant = settings.number("lora_dropout", 0), variant_of(settings)
    kind = variant.method if variant else DoRA if dora else LoRA
    own = variant.read(settings) if variant else {}
    pieces: list[Piece] = []
    for path, tensors in given.by_module(*_TENSORS).items():
        sites = places.at(path, "weight", given.folder)
        shapes = Shapes.of(sites[0], given.folder)
        r = int(ranks.get(first(ranks, path) or "", rank))
        if r not in (rank, *ranks.values()):
            raise settings.wrong("r", "a whole number")
        scale = alphas.get(first(alphas, path) or "", alpha)
        method = kind(
            rank=r,
            alpha=None if scale == r and not stable else scale,
            init="gaussian" if start == "gaussian" else "uniform",
            stable=stable,
            dropout=dropout,
            **own,
        )
        a, b = (tensors.get(name, f"{PREFIX}{path}.{name}") for name in (shapes.a, shapes.b))
        down = given.take(a, shapes.down(r)).reshape(r, -1)
        up = given.take(b, shapes.up(r)).reshape(-1, r)
        found = {"down": down, "up": up}
        if dora:
            name = tensors.get(MAGNITUDE, f"{PREFIX}{path}.{MAGNITUDE}")
            found["magnitude"] = given.take(name, shapes.magnitude).reshape(-1, 1)
        if variant:
            _one(sites, given.folder)
            found |= variant.take(given, f"{PREFIX}{path}.", method, r, sites[0].shape[1])
        for site in sites:
            rows = slice(*(site.part or (None,)))
            held = {role: t[rows].contiguous() if role in ("up", "magnitude") else t for role, t in found.items()}
            pieces.append(Piece(method, site, held))
        if settings.flag("lora_bias"):
            pieces += read_offset(given, places, path, method.scale)
    return pieces + read_biases(given, places) + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    by_path: dict[str, list[Piece]] = {}
    rest: list[Piece] = []
    for piece in pieces:
        if isinstance(piece.method, LoRA):
            places.alone(piece.site)
            by_path.setdefault(piece.site.path, []).append(piece)
        else:
            rest.append(piece)
    methods = [p.method for found in by_path.values() for p in found if isinstance(p.method, LoRA)]
    kinds = {type(method): method for method in methods}
    variant = next((each for each in VARIANTS if each.method in kinds), None)
    said = [variant.say(method) for method in methods] if variant and len(kinds) == 1 else []
    if len(kinds) > 1 or len({method.dropout for method in methods}) > 1 or any(each != said[0] for each in said):
        raise PeftError(
            "PEFT has one use_dora, one lora_dropout and one variant for all of an adapter: save the parts that differ apart"
        )
    dora = DoRA in kinds
    stable = all(method.stable and method.alpha is not None for method in methods)
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, float] = {}
    alphas: dict[str, float] = {}
    for path in sorted(by_path, key=list(places.modules).index):
        found = by_path[path]
        shapes = Shapes.of(found[0].site, "the adapter")
        method, down, up = joined(found, shapes.rows, list(variant.roles(found[0].method)) if variant else [])
        rank = len(down)
        kept = rank == method.rank and stable == (method.stable and method.alpha is not None)
        alpha = method.alpha if kept else method.scale * (math.sqrt(rank) if stable else rank)
        ranks[path], alphas[path] = rank, rank if alpha is None else alpha
        tensors[f"{PREFIX}{path}.{shapes.a}"] = down.reshape(shapes.down(rank))
        tensors[f"{PREFIX}{path}.{shapes.b}"] = up.reshape(shapes.up(rank))
        if variant:
            _one([piece.site for piece in found], "the adapter")
            beside = variant.give(found[0].tensors, method, rank, found[0].site.shape[1])
            tensors |= {f"{PREFIX}{path}.{name}": tensor for name, tensor in beside.items()}
        if dora:
            tensors[f"{PREFIX}{path}.{MAGNITUDE}"] = magnitude(found, shapes.rows, places).reshape(shapes.magnitude)
    biases, bias, rest = write_biases(rest, by_path, places)
    more, saved = write_saved(rest, places, set(by_path))
    (r, rank_pattern), (lora_alpha, alpha_pattern) = usual(ranks), usual(alphas)
    starts = {method.init for method in methods}
    settings = {
        "r": r, "rank_pattern": rank_pattern, "lora_alpha": lora_alpha, "alpha_pattern": alpha_pattern,
        "bias": bias, "use_dora": dora, "use_rslora": stable, "lora_dropout": methods[0].dropout,
        "init_lora_weights": "gaussian" if starts == {"gaussian"} else True,
        "target_modules": names(set(by_path), set(places.modules)), "modules_to_save": saved,
        "fan_in_fan_out": fan_in_fan_out(list(ranks), places),
    }  # fmt: skip
    if variant:
        settings[variant.setting] = said[0]
    return Written({**tensors, **biases, **more}, settings)


def _one(sites: list[Site], source: object) -> None:
    """A variant is read and written where there is one update of one linear layer."""
    if len(sites) > 1 or type(sites[0].layout) is not Matrix:
        raise PeftError(
            f"{source} has a variant of LoRA at {sites[0].path!r}, a {sites[0].type}: it is read and written at linear layers "
            "alone, one to a layer"
        )


def usual(values: Mapping[str, float]) -> tuple[float, dict[str, float]]:
    """The most frequent value, and the others by patterns that match their modules alone."""
    plain = {path: int(value) if value == int(value) else value for path, value in values.items()}
    usual = Counter(plain.values()).most_common(1)[0][0]
    pattern: dict[str, float] = {}
    for path, value in plain.items():
        if value != usual:
            name = shortest(path, {p for p, v in plain.items() if v == value}, plain)
            pattern[f"^{re.escape(path)}" if name is None else re.escape(name)] = value
    return usual, pattern


def fan_in_fan_out(paths: list[str], places: Places) -> bool:
    """What PEFT says of all modules when it has come to the last: whether it keeps its weight as (in, out)."""
    found = [site.layout for path in paths for site in places.weights[path, "weight"]]
    linear = [layout for layout in found if isinstance(layout, Matrix)]
    return bool(linear) and isinstance(linear[-1], Transposed)


_DEFAULTS: dict[str, Any] = dict.fromkeys(
    (
        "alora_invocation_tokens", "arrow_config", "corda_config", "eva_config", "exclude_modules", "kasa_config",
        "layer_replication", "layers_pattern", "layers_to_transform", "lora_ga_config", "megatron_config",
        "modules_to_save", "monteclora_config", "target_modules", "target_parameters", "trainable_token_indices",
        "use_bdlora", "velora_config",
    )
)  # fmt: skip
_DEFAULTS |= {
    "alpha_pattern": {}, "bias": "none", "ensure_weight_tying": False, "fan_in_fan_out": False,
    "init_lora_weights": True, "loftq_config": {}, "lora_alpha": 8, "lora_bias": False, "lora_dropout": 0.0,
    "megatron_core": "megatron.core", "qalora_group_size": 16, "r": 8, "rank_pattern": {}, "use_dora": False,
    "use_qalora": False, "use_rslora": False,
}  # fmt: skip

FORM = Form(
    "LORA",
    owns=lambda piece: type(piece.method) in (LoRA, DoRA, *(each.method for each in VARIANTS)),
    read=_read,
    write=_write,
    defaults=_DEFAULTS,
    reads=frozenset(
        {
            "r", "bias", "lora_alpha", "lora_bias", "rank_pattern", "alpha_pattern", "use_dora", "use_rslora", "lora_dropout",
            "init_lora_weights", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern",
            "modules_to_save", *(each.setting for each in VARIANTS),
        }
    ),
    harmless=frozenset(
        {"fan_in_fan_out", "eva_config", "loftq_config", "megatron_core", "qalora_group_size"}
    ),
)  # fmt: skip
