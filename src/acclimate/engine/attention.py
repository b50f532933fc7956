"""The faces of attention, around whatever kernel the model uses.

    queries, keys_values -> (the kernel, or softmax written out where a map is asked for) -> attend

Keys may get longer at their front; the mask is then extended so that every query sees the new ones.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from acclimate.engine.method import AdapterModule
from acclimate.engine.multihead import explicit, multihead
from acclimate.sites import HOST, SiteError, way_in

__all__ = ["faced", "named_class", "through"]

_KERNEL = "acclimate"


def faced(
    modules: list[AdapterModule],
    kernel: Callable[..., Tensor],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    written_out: Callable[..., Tensor],
    scale: float | None = None,
) -> Tensor:
    """Attention through the faces. q (rows, heads, queries, width), k and v (rows, kv heads, keys, width).

    ``kernel(q, k, v, mask, causal)`` is the base's; ``written_out(..., change)`` the same with its map exposed.
    """
    for index, module in enumerate(modules):
        if "among" in module.faces:

            def inner(others: list[AdapterModule], at: int = index) -> Tensor:
                chosen = [*modules[:at], *others, *modules[at + 1 :]]
                return faced(chosen, kernel, q, k, v, mask, causal, written_out, scale)

            y: Tensor = module.among(inner, q)  # type: ignore[operator]
            return y
    for module in modules:
        if "queries" in module.faces:
            q = module.queries(q)  # type: ignore[operator]
        if "keys_values" in module.faces:
            before = k.shape[2]
            k, v = module.keys_values(k, v)  # type: ignore[operator]
            mask, causal = _extend(mask, causal, q, before, k.shape[2] - before)
    maps = [module.attention_map for module in modules if "attention_map" in module.faces]

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if maps:
            return written_out(q, k, v, mask, causal, maps)
        return kernel(q, k, v, mask, causal)

    for module in modules:
        if "attend" in module.faces:
            call = functools.partial(_attend, module, call, 1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    return call(q, k, v)


def _attend(module: Any, call: Callable[..., Tensor], scale: float, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    y: Tensor = module.attend(call, q, k, v, scale)
    return y


def _extend(mask: Tensor | None, causal: bool, q: Tensor, old: int, new: int) -> tuple[Tensor | None, bool]:
    """Let every query see `new` keys at the front."""
    if new == 0:
        return mask, causal
    if mask is None:
        if not causal:
            return None, False
        mask = torch.ones(q.shape[2], old, dtype=torch.bool, device=q.device).tril()[None, None]
    front = mask.new_ones if mask.dtype == torch.bool else mask.new_zeros
    return torch.cat([front(*mask.shape[:-1], new), mask[..., :old]], dim=-1), False


class _Meet(TorchFunctionMode):
    """Hands every scaled dot-product attention inside a call to a handler."""

    def __init__(self, handler: Callable[..., Tensor]) -> None:
        super().__init__()
        self.handler = handler
        self.met = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            self.met += 1
            return self.handler(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def through(
    modules: list[AdapterModule], module: nn.Module, host: Any, call: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    """Run an attention module's own forward with its kernel reached from inside."""
    if way_in(module) == "interface":
        return host.base.forward(_named(module, host), *args, **kwargs)
    if isinstance(module, nn.MultiheadAttention):
        return multihead(functools.partial(faced, modules), module, host.path, *args, **kwargs)

    def handler(
        q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
        is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
    ) -> Tensor:  # fmt: skip
        def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
            return F.scaled_dot_product_attention(q, k, v, mask, dropout_p, causal, scale=scale, enable_gqa=enable_gqa)

        def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, maps: list[Any]) -> Tensor:
            return explicit(q, k, v, mask, causal, maps, scale, dropout_p)

        return faced(modules, kernel, q, k, v, attn_mask, is_causal, written_out, scale)

    meet = _Meet(handler)
    with meet:
        y = call(*args, **kwargs)
    if not meet.met:
        raise SiteError(
            f"{type(module).__name__} at {host.path!r} did not call scaled_dot_product_attention, so its keys, "
            "values and map cannot be adapted: load the model with attn_implementation='sdpa'"
        )
    return y


class _Named:
    """A configuration that names our kernel and is otherwise the model's."""

    def __init__(self, config: Any) -> None:
        self._config = config

    @property
    def _attn_implementation(self) -> str:
        return _KERNEL

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_config"], name)


def _named(module: nn.Module, host: Any) -> nn.Module:
    inner = object.__new__(host.named)
    inner.__dict__ = module.__dict__
    return inner


@functools.cache
def named_class(base: Any) -> Any:
    """The class whose configuration names our kernel; the first one makes the name known to transformers."""
    if way_in(object.__new__(base)) == "interface":
        _register()
    config = property(lambda self: _Named(self.__dict__["config"]), lambda self, value: None)
    return type(
        base.__name__, (base,), {"__module__": base.__module__, "__qualname__": base.__qualname__, "config": config}
    )


@functools.cache
def _register() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(_KERNEL, _interface)


def _interface(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Our kernel under the attention interface: (rows, heads, tokens, width) in, (rows, tokens, heads, width) out."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    from acclimate.engine.context import chosen

    host: Any = module._modules[HOST]
    entries = chosen(host.registry)
    keys = [slot.key for slot in host.slots if slot.kind == "attention"]
    modules = [m for key_ in keys for entry in entries for m in entry.at(key_, query.device)]
    implementation = module.__dict__["config"]._attn_implementation
    if implementation == "eager":
        base = sys.modules[host.base.forward.__module__].eager_attention_forward
        causal = False
    else:
        base = ALL_ATTENTION_FUNCTIONS[implementation]
        asked = kwargs.pop("is_causal", None)
        causal = getattr(module, "is_causal", True) if asked is None else asked
        causal = bool(causal and attention_mask is None and query.shape[2] > 1)

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        extra = {} if implementation == "eager" else {"is_causal": causal}
        return base(module, q, k, v, mask, **kwargs, **extra)[0].transpose(1, 2)

    def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, maps: list[Any]) -> Tensor:
        mask = None if mask is None else mask[..., : k.shape[2]]
        sinks = getattr(module, "sinks", None)
        return explicit(q, k, v, mask, causal, maps, kwargs.get("scaling"), kwargs.get("dropout", 0.0), sinks)

    y = faced(modules, kernel, query, key, value, attention_mask, causal, written_out, kwargs.get("scaling"))
    return y.transpose(1, 2).contiguous(), None
