"""Where queries, keys, values and the attention map of a module can be had, and how it is shaped.

Three ways lead in. Modules of transformers that look their kernel up by name (the attention interface) are
handed ours; modules that call ``scaled_dot_product_attention`` are met there (BERT, nn.MultiheadAttention,
and any plain module that does); what does neither is refused by name.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

__all__ = ["Way", "geometry", "way_in"]

Way = Literal["interface", "fused"]

_INTERFACE = frozenset(
    {
        "GPT2Attention", "LlamaAttention", "MistralAttention", "Qwen2Attention", "MixtralAttention",
        "GptOssAttention", "ViTSelfAttention", "CLIPAttention", "WhisperAttention",
    }
)  # fmt: skip
_FUSED = frozenset({"BertSelfAttention", "MultiheadAttention"})


def way_in(module: nn.Module) -> Way | None:
    """How a module's attention is reached, None where it is not."""
    names = {cls.__name__ for cls in type(module).__mro__}
    if names & _INTERFACE:
        return "interface"
    if names & _FUSED or getattr(module, "acclimate_attention", None) is not None:
        return "fused"
    return None


def geometry(module: nn.Module) -> tuple[int, int, int] | None:
    """(query heads, key-value heads, width of a head), None for a module that has no attention we can reach.

    >>> geometry(nn.MultiheadAttention(8, 2))
    (2, 2, 4)
    """
    if way_in(module) is None:
        return None
    declared: tuple[int, int, int] | None = getattr(module, "acclimate_attention", None)
    if declared is not None:
        return declared
    held = module.__dict__
    config = held.get("config")
    heads = held.get("num_heads") or held.get("num_attention_heads") or getattr(config, "num_attention_heads", None)
    width = held.get("head_dim") or held.get("attention_head_size")
    if not isinstance(heads, int) or not isinstance(width, int):
        return None
    groups = held.get("num_key_value_groups", 1)
    return heads, heads // groups, width
