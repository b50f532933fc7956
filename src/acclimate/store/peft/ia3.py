"""IA3: `Scale` at weights, a factor on each output of a linear layer or convolution, and `InputScale`, one on each input.

    (out, 1) <-> scale (out,)        (1, in) <-> scale (in,)

A feed-forward module of PEFT's has its factors on the inputs. In a gated MLP, down(act(gate(x)) * up(x)), these are
factors on the outputs of ``up``, and are read as those. Liu et al., "Few-Shot Parameter-Efficient
Fine-Tuning is Better and Cheaper than In-Context Learning", 2022.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from acclimate.methods import InputScale, Scale
from acclimate.sites import Site
from acclimate.sites.layout import Matrix
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.lora import fan_in_fan_out
from acclimate.store.peft.pattern import expression, names
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import read_saved, write_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places, is_norm

__all__ = ["FORM"]

_FACTORS = "ia3_l"
_GATED = frozenset({"LlamaMLP", "MistralMLP", "Qwen2MLP", "MixtralBlockSparseTop2MLP", "T5DenseGatedActDense"})
"""Modules that compute down(act(gate(x)) * up(x)) and nothing between."""


def _owns(piece: Piece) -> bool:
    return type(piece.method) in (InputScale, Scale) and not is_norm(piece.site)


def _shape(site: Site, path: str, rows: int) -> tuple[int, ...]:
    """The shape of factors on the outputs of a module."""
    if isinstance(site.module, nn.Conv2d | nn.Conv3d):
        return (1, rows) + (1,) * len(site.module.kernel_size)
    if isinstance(site.layout, Matrix):
        return rows, 1
    raise PeftError(f"PEFT's IA3 adapts linear layers, Conv1D, Conv2d and Conv3d, and {path!r} is a {site.type}")


def _entering(sites: list[Site], path: str) -> tuple[Site, tuple[int, ...]]:
    """The one site of a module, and the shape of factors on its inputs."""
    site = sites[0]
    _shape(site, path, 0)
    if len(sites) > 1:
        raise PeftError(f"{path!r} is a fused projection, whose inputs have no factors in common here")
    if isinstance(site.module, nn.Conv2d | nn.Conv3d):
        return site, (1, site.layout.shape[1], *(1 for _ in site.module.kernel_size))
    return site, (1, site.shape[-1])


def _gated(places: Places, path: str, role: str) -> str | None:
    """In a gated MLP, the path of the module with another role beside this one."""
    above = path.rpartition(".")[0]
    if not {cls.__name__ for cls in type(places.modules[above]).__mro__} & _GATED:
        return None
    for (where, attribute), sites in places.weights.items():
        if attribute == "weight" and where.rpartition(".")[0] == above and sites[0].role == role:
            return where
    return None


def _feedforward(given: Given, path: str) -> bool:
    wanted = given.settings.names("feedforward_modules")
    if isinstance(wanted, str):
        return expression(wanted).fullmatch(path) is not None
    return any(path.endswith(name) for name in wanted)  # by letters, as PEFT compares them


def _read(given: Given, places: Places) -> list[Piece]:
    pieces: list[Piece] = []
    by_module = given.by_module(_FACTORS)
    for path, tensors in by_module.items():
        sites = places.at(path, "weight", given.folder)
        if _feedforward(given, path):
            up = _gated(places, path, "up") if sites[0].role == "down" else None
            if up is None or up in by_module:
                site, shape = _entering(sites, path)
                pieces.append(Piece(InputScale(), site, {"scale": given.take(tensors[_FACTORS], shape).reshape(-1)}))
                continue
            _shape(sites[0], path, 0)
            (site,) = places.at(up, "weight", given.folder)
            scale = given.take(tensors[_FACTORS], (1, site.shape[-2])).reshape(-1)
            pieces.append(Piece(Scale(), site, {"scale": scale}))
            continue
        rows = sites[-1].part[1] if sites[-1].part else sites[0].shape[-2]
        scale = given.take(tensors[_FACTORS], _shape(sites[0], path, rows)).reshape(-1)
        for site in sites:
            pieces.append(Piece(Scale(), site, {"scale": scale[slice(*(site.part or (None,)))].clone()}))
    return pieces + read_saved(given, places)


def _write(pieces: list[Piece], places: Places) -> Written:
    factors: dict[str, Tensor] = {}
    entering: dict[str, Tensor] = {}
    for piece in pieces:
        if _owns(piece):
            piece.expect(["scale"])
            site, scale = piece.site, piece.tensors["scale"]
            places.alone(site)
            if type(piece.method) is InputScale:
                site, shape = _entering(places.weights[site.path, "weight"], site.path)
                entering[site.path] = entering.get(site.path, torch.ones(())) * scale.reshape(shape)
                continue
            if site.readers[0].attribute != "weight":
                raise PeftError(f"PEFT scales the outputs of modules, and {site.key} is no module's weight")
            start, stop = site.part or (0, len(scale))
            rows = places.weights[site.path, "weight"][-1].part
            whole = factors.setdefault(site.path, scale.new_ones(rows[1] if rows else stop))
            whole[start:stop] *= scale
    if both := sorted(entering.keys() & factors.keys()):
        raise PeftError(
            f"{both[0]!r} has factors on its inputs and on its outputs, and PEFT has one of these to a module"
        )
    tensors = {f"{PREFIX}{path}.{_FACTORS}": scale for path, scale in entering.items()}
    inputs = set(entering)
    for path, scale in factors.items():
        site = places.weights[path, "weight"][0]
        shape, down = _shape(site, path, len(scale)), _gated(places, path, "down") if site.role == "up" else None
        if down is not None and down not in factors and down not in entering:
            inputs.add(down)
            tensors[f"{PREFIX}{down}.{_FACTORS}"] = scale.reshape(1, -1)
        else:
            tensors[f"{PREFIX}{path}.{_FACTORS}"] = scale.reshape(shape)
    adapted = {name.removeprefix(PREFIX).removesuffix(f".{_FACTORS}") for name in tensors}
    more, saved = write_saved([piece for piece in pieces if not _owns(piece)], places, adapted)
    everyone = set(places.modules)
    settings = {
        "target_modules": names(adapted, everyone),
        "feedforward_modules": _listed(inputs, everyone),
        "modules_to_save": saved,
        "fan_in_fan_out": fan_in_fan_out(sorted(adapted, key=list(places.modules).index), places),
    }
    return Written({**tensors, **more}, settings)


def _listed(paths: set[str], everyone: set[str]) -> list[str] | str:
    return names(paths, everyone) if paths else []


FORM = Form(
    "IA3",
    owns=_owns,
    read=_read,
    write=_write,
    defaults={
        "exclude_modules": None, "fan_in_fan_out": False, "feedforward_modules": [], "init_ia3_weights": True,
        "modules_to_save": None, "target_modules": None,
    },
    reads=frozenset({"exclude_modules", "feedforward_modules", "modules_to_save", "target_modules"}),
    harmless=frozenset({"fan_in_fan_out", "init_ia3_weights"}),
)  # fmt: skip
