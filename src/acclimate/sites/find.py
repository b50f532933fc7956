"""Every site of a model, in the order of its modules. Identity is by object: one parameter is one site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from acclimate.sites.attention import geometry
from acclimate.sites.held import quantised, shape_of
from acclimate.sites.layout import Layout, layout_of
from acclimate.sites.roles import parts_of, roles_of
from acclimate.sites.site import HOST, Kind, Reader, Site, raw

__all__ = ["base_modules", "everywhere", "find"]

_NEVER_CALLED = {("MultiheadAttention", "out_proj")}
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


def base_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """``named_modules`` without the adapters', each object once, under its first name."""
    seen: set[int] = set()
    stack = [("", model)]
    while stack:
        path, module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield path, module
        for name, child in reversed(list(module.__dict__["_modules"].items())):
            if child is not None and name not in (HOST, "parametrizations"):
                stack.append((f"{path}.{name}" if path else name, child))


def find(model: nn.Module, kind: Kind) -> list[Site]:
    """All sites of one kind.

    >>> [site.key for site in find(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "weight")]
    ['0.weight', '0.bias']
    """
    modules = list(base_modules(model))
    roles = _roles(modules)
    if kind == "weight":
        return _weights(modules, roles)
    if kind == "attention":
        return [
            Site(
                f"{path}[attention]", kind, (Reader(path, module, ""),), Layout(()), roles.get((id(module), "")),
                heads=shape,
            )
            for path, module in modules
            if (shape := geometry(module)) is not None
        ]  # fmt: skip
    parents = {id(child): (type(module), name) for _, module in modules for name, child in module.named_children()}
    hidden = _hidden(model)
    headed = "head" in roles.values()
    return [
        _call(path, module, roles, parents.get(id(module)), None if headed and not path else hidden)
        for path, module in modules
        if not isinstance(module, _CONTAINERS)
    ]


def everywhere(model: nn.Module) -> list[Site]:
    """Everything that could be adapted: parameters, calls and attention, with roles.

    >>> [site.key for site in everywhere(nn.LayerNorm(2))]
    ['weight', 'bias', '()']
    """
    return [*find(model, "weight"), *find(model, "call"), *find(model, "attention")]


def _roles(modules: list[tuple[str, nn.Module]]) -> dict[tuple[int, str], str]:
    """Role by (module, attribute); a parent's word about a child holds before the child's about itself."""
    roles: dict[tuple[int, str], str] = {}
    for _, module in modules:
        for attribute, role in roles_of(module).items():
            child = module.__dict__["_modules"].get(attribute)
            if child is not None:
                roles[id(child), ""] = role
            elif attribute:
                roles[id(module), attribute] = role
            else:
                roles.setdefault((id(module), ""), role)
    return roles


def _weights(modules: list[tuple[str, nn.Module]], roles: dict[tuple[int, str], str]) -> list[Site]:
    readers: dict[int, list[Reader]] = defaultdict(list)
    values: dict[int, Tensor] = {}
    for path, module in modules:
        for attribute in _attributes(module):
            value = raw(module, attribute)
            if value is None or not (torch.is_floating_point(value) or quantised(value)):
                continue
            named = module.__dict__["_parameters"].get(attribute) is value
            identity = id(value) if named else hash((id(module), attribute))
            values[identity] = value
            readers[identity].append(Reader(path, module, attribute, _bias(module, attribute)))
    sites: list[Site] = []
    for identity, found in readers.items():
        first, shape = found[0], shape_of(values[identity])
        layout = layout_of(first.module, first.attribute, shape)
        key = f"{first.path}.{first.attribute}" if first.path else first.attribute
        role = next(
            (
                r
                for reader in found
                if (r := roles.get((id(reader.module), reader.attribute)) or _whole(reader, roles)) is not None
            ),
            None,
        )
        if role == "qkv":
            for name, start, stop in parts_of(layout.matrix(torch.empty(shape, device="meta")).shape[0]):
                sites.append(Site(f"{key}[{name}]", "weight", tuple(found), layout, name, (start, stop)))
        else:
            sites.append(Site(key, "weight", tuple(found), layout, role))
    return sites


def _attributes(module: nn.Module) -> list[str]:
    """Parameters, and what a parametrization or weight_norm's hook computes in the place of one."""
    names = list(module.__dict__["_parameters"])
    parametrized = module.__dict__["_modules"].get("parametrizations")
    if parametrized is not None:
        names += list(parametrized.keys())
    names = [n[:-2] if n.endswith("_g") and f"{n[:-2]}_v" in names else n for n in names]
    return [n for n in names if not (n.endswith("_v") and n[:-2] in names)]


def _bias(module: nn.Module, attribute: str) -> str | None:
    """The bias that goes with a weight in one call: `bias`, `bias_ih_l0`, `in_proj_bias`."""
    if "weight" not in attribute:
        return None
    name = attribute.replace("weight", "bias")
    if name in module.__dict__["_parameters"] or name in module.__dict__:
        return name
    return None


def _whole(reader: Reader, roles: dict[tuple[int, str], str]) -> str | None:
    """A module's role is its weight's; a block's or an attention's own is not that of its bare parameters."""
    role = roles.get((id(reader.module), ""))
    return role if reader.attribute == "weight" and role not in ("attention", "mlp", "block") else None


def _call(
    path: str,
    module: nn.Module,
    roles: dict[tuple[int, str], str],
    parent: tuple[type, str] | None,
    hidden: int | None,
) -> Site:
    value = raw(module, "weight")
    layout = layout_of(module, "weight", () if value is None else shape_of(value))
    role = roles.get((id(module), ""))
    own = _channels(module)
    channels = own or (hidden if role in ("block", "attention", "mlp") or not path else None)
    if isinstance(module, nn.PReLU):
        layout = Layout(layout.shape, 1)
    elif layout.channel is None and not layout.trailing:
        layout = Layout(layout.shape, _axis_within(module) if own else -1)
    called = parent is None or (parent[0].__name__, parent[1]) not in _NEVER_CALLED
    return Site(f"{path}()", "call", (Reader(path, module, ""),), layout, role, callable=called, channels=channels)


def _axis_within(module: nn.Module) -> int:
    """Where the last layer in a block has its channels; the last axis where none says."""
    axes = (layout_of(each, "weight", ()).channel for each in reversed(list(module.modules())[1:]))
    return next((axis for axis in axes if axis is not None), -1)


def _channels(module: nn.Module) -> int | None:
    for name in ("out_features", "out_channels", "num_features", "num_channels", "embedding_dim", "embed_dim", "nf"):
        if name == "num_channels" and not isinstance(module, nn.GroupNorm):
            continue  # elsewhere it is the channels of an image that comes in
        size = module.__dict__.get(name)
        if isinstance(size, int):
            return size
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return int(module.normalized_shape[-1])
    value = raw(module, "weight")
    if value is not None and value.dim() == 1:
        return value.numel()
    if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
        return module.linear2.out_features
    return None


def _hidden(model: nn.Module) -> int | None:
    """The width of the stream between blocks, where the model's configuration says it."""
    config = getattr(model, "config", None)
    size = getattr(config, "hidden_size", None) or getattr(config, "d_model", None)
    return size if isinstance(size, int) else None
