"""Attention written out: with its map exposed, and nn.MultiheadAttention with its heads exposed.

    softmax(q k^T * scale + mask) v

The fused kernels of ``nn.MultiheadAttention`` hide queries, keys and values; here they are had one by one.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.sites import SiteError

__all__ = ["explicit", "multihead"]


def explicit(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    maps: list[Any],
    scale: float | None = None,
    dropout: float = 0.0,
    sinks: Tensor | None = None,
) -> Tensor:
    """softmax(q k^T * scale + mask) v, with every function in ``maps`` applied to the softmax.

    ``sinks`` (heads,) are scores of one more key that every query sees and that has no value.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.mT * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(ahead, -math.inf)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    if sinks is not None:
        scores = torch.cat([scores, sinks.reshape(1, -1, 1, 1).expand(*scores.shape[:-1], 1).to(scores.dtype)], -1)
    weights = scores.softmax(-1)
    weights = weights if sinks is None else weights[..., :-1]
    for change in maps:
        weights = change(weights)
    return F.dropout(weights, dropout) @ v if dropout else weights @ v


def multihead(
    faced: Callable[..., Tensor],
    module: nn.MultiheadAttention,
    path: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = False,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, None]:
    """What ``nn.MultiheadAttention`` computes, with the faces between its projections."""
    if need_weights or module.bias_k is not None or module.add_zero_attn or query.dim() != 3:
        raise SiteError(
            f"MultiheadAttention at {path!r} cannot return weights, add keys of its own or take unbatched input once "
            "its attention is adapted: call it with need_weights=False on batches"
        )
    if not module.batch_first:
        query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
    dropout = module.dropout if module.training else 0.0
    weights = _projections(module)
    biases = (None,) * 3 if module.in_proj_bias is None else module.in_proj_bias.chunk(3)
    heads = [
        F.linear(x, w, b).view(*x.shape[:2], module.num_heads, module.head_dim).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    ]

    def kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)

    written_out = functools.partial(explicit, dropout=dropout)
    mask = _mask(module, attn_mask, key_padding_mask, query)
    y = faced(kernel, *heads, mask, False, written_out).transpose(1, 2).flatten(2)
    y = F.linear(y, module.out_proj.weight, module.out_proj.bias)
    return (y if module.batch_first else y.transpose(0, 1)), None


def _projections(module: nn.MultiheadAttention) -> Any:
    if module.in_proj_weight is not None:
        return module.in_proj_weight.chunk(3)
    return module.q_proj_weight, module.k_proj_weight, module.v_proj_weight


def _mask(module: nn.MultiheadAttention, mask: Tensor | None, padding: Tensor | None, like: Tensor) -> Tensor | None:
    """Both masks as one that is added to the scores, (rows, heads or 1, queries, keys)."""
    added: Tensor | None = None
    if mask is not None:
        added = mask.view(-1, module.num_heads, *mask.shape[1:]) if mask.dim() == 3 else mask[None, None]
        added = _additive(added, like)
    if padding is not None:
        hidden = _additive(padding[:, None, None, :], like)
        added = hidden if added is None else added + hidden
    return added


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """In nn.MultiheadAttention True means hidden."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)
