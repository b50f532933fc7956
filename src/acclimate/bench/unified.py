"""Adapters in one form, written out by hand: h <- h + dh, dh = s f(x D) U, on four axes.

    form          f: relu, gelu, nothing at all, or softmax(. K^T) V for a prefix
    site          which hidden state h is changed
    insertion     x is h itself (sequential) or what went into the module that made h (parallel)
    composition   h + s dh, or gated: (1 - g) h + g dh

What is here knows nothing of the engine: plain hooks of torch, and an attention replaced by its formula. The gate g of
a prefix is the share of a query's attention that goes to the prefix,

    g = sum_p exp(q K_p^T) / (sum_p exp(q K_p^T) + sum exp(q K^T))

He, Zhou, Ma, Berg-Kirkpatrick, Neubig, "Towards a Unified View of Parameter-Efficient Transfer Learning", 2022.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from acclimate.engine import Adapter, Method, attach
from acclimate.methods import LoRA, Prefix
from acclimate.sites import At

__all__ = ["Change", "Composition", "Insertion", "PrefixChange", "apart", "change", "written_out"]

Insertion = Literal["sequential", "parallel"]
Composition = Literal["gated", "added"]
_FORMS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "identity": lambda z: z}


@dataclass(frozen=True)
class Change:
    """One cell of the grid at one module: ``dh = scale * form(x D^T + c) U^T + e``, D (width, in), U (out, width)."""

    site: str
    form: Callable[[Tensor], Tensor]
    insertion: Insertion
    scale: float
    down: Tensor
    up: Tensor
    down_bias: Tensor | None = None
    up_bias: Tensor | None = None

    def hook(self, module: nn.Module, args: Any, y: Any) -> Any:
        h = y[0] if isinstance(y, tuple) else y
        x = h if self.insertion == "sequential" else args[0]
        z = self.form(x @ self.down.mT + (0 if self.down_bias is None else self.down_bias))
        h = h + self.scale * (z @ self.up.mT + (0 if self.up_bias is None else self.up_bias))
        return (h, *y[1:]) if isinstance(y, tuple) else h


@dataclass(frozen=True)
class PrefixChange:
    """A prefix as a parallel change of the attention's output: keys and values (heads, length, width).

    ``composition`` is the gated one of the paper, or plain addition, which is no prefix.
    """

    site: str
    key: Tensor
    value: Tensor
    composition: Composition = "gated"

    def attend(self, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """In the place of an attention without a mask: q, k and v (rows, heads, tokens, width)."""
        scale = 1 / math.sqrt(q.shape[-1])
        prefix, own = (scale * q @ keys.mT for keys in (self.key, k))  # (rows, heads, queries, keys)
        h, dh = own.softmax(-1) @ v, prefix.softmax(-1) @ self.value
        gate = torch.sigmoid(prefix.logsumexp(-1, True) - own.logsumexp(-1, True))
        return h + gate * dh if self.composition == "added" else (1 - gate) * h + gate * dh


class _Meet(TorchFunctionMode):
    """Hands torch's attention inside to another function."""

    def __init__(self, attend: Callable[..., Tensor]) -> None:
        super().__init__()
        self.attend = attend

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self.attend if func is F.scaled_dot_product_attention else func)(*args, **(kwargs or {}))


def written_out(adapter: Adapter, composition: Composition = "gated") -> list[Change | PrefixChange]:
    """An adapter's modules as cells of the grid; ``composition`` is that of prefixes."""
    changes: list[Change | PrefixChange] = []
    for key, module in adapter.modules():
        method, held = module.method, dict(module.named_parameters())
        site = key.removesuffix("[attention]").removesuffix("()").removesuffix(".weight")
        if isinstance(method, Prefix):
            changes.append(PrefixChange(site, held["key"], held["value"], composition))
        elif isinstance(method, LoRA):
            changes.append(Change(site, lambda z: z, "parallel", method.scale, **held))
        else:
            insertion: Insertion = "parallel" if method.reads == "input" else "sequential"
            changes.append(Change(site, _FORMS[method.activation], insertion, method.scale, **held))
    return changes


def change(model: nn.Module, changes: list[Change | PrefixChange]) -> None:
    """Make a model compute with these changes, by hooks, for good."""
    for each in changes:
        module = model.get_submodule(each.site)
        if isinstance(each, Change):
            module.register_forward_hook(each.hook)
        else:
            module.forward = _with(_Meet(each.attend), module.forward)


def _with(mode: _Meet, call: Callable[..., Any]) -> Callable[..., Any]:
    def inside(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return call(*args, **kwargs)

    return inside


@torch.no_grad()
def apart(
    model: nn.Module,
    batch: Mapping[str, Tensor],
    method: Mapping[Method, At],
    seed: int,
    composition: Composition = "gated",
) -> tuple[float, float]:
    """How far the engine's adapter and the same written out are apart, and how far it is from the unadapted model.

    In float64, every parameter moved as if trained: the largest difference over the largest output of the last hidden
    state. The batch must be free of padding.
    """
    own, other = copy.deepcopy(model), copy.deepcopy(model).double()
    adapter = attach(own, dict(method), seed=seed)
    own.double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in adapter.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    y, before = own(**batch).last_hidden_state, other(**batch).last_hidden_state
    change(other, written_out(adapter, composition))
    again = other(**batch).last_hidden_state
    largest = before.abs().max()
    return float((y - again).abs().max() / largest), float((y - before).abs().max() / largest)
