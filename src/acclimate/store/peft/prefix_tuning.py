"""PREFIX_TUNING: `Prefix` at every attention of a causal language model with rotary positions.

    prompt_embeddings (tokens, layers * 2 * heads * width) <-> key, value (heads, tokens, width) of each layer

PEFT hands the prefix over as a cache, so that the model counts its own tokens from n on and turns its queries by n
positions more. Here they are counted from 0, so keys are turned back by n. Learned positions cannot be turned.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from acclimate.methods import Prefix
from acclimate.sites import Site, find
from acclimate.store.peft.folder import Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_NAME = "prompt_embeddings"
_ROTARY = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention"})


def _layers(places: Places, source: Path | str) -> list[Site]:
    """Every attention of the model, if PEFT's prefix can be one here."""
    sites, config = find(places.model, "attention"), getattr(places.model, "config", None)
    other = next((site.type for site in sites if site.type not in _ROTARY), None)
    if other is not None or not sites:
        raise PeftError(
            f"{source} is a prefix for {other or 'no attention that can be reached'}: PEFT's prefix moves every token's "
            f"position, which keys can only make up for where positions turn them ({', '.join(sorted(_ROTARY))})"
        )
    if any(getattr(site.module, "sliding_window", None) for site in sites):
        raise PeftError(
            f"{source} is a prefix for a sliding window, out of which PEFT lets it slide and acclimate does not"
        )
    if not getattr(config, "num_hidden_layers", None) == len(sites):
        raise PeftError(
            f"{source} is a prefix for a model of {len(sites)} attentions that does not say it has as many layers"
        )
    return sites


def _turned(key: Tensor, by: int, places: Places, source: Path | str) -> Tensor:
    """Keys (heads, tokens, width) turned by so many positions."""
    found = [module for module in places.modules.values() if type(module).__name__.endswith("RotaryEmbedding")]
    scaled = getattr(found[0], "attention_scaling", None) if found else None
    speed = getattr(found[0], "inv_freq", None) if found else None
    plain = scaled == 1.0 and getattr(found[0], "rope_type", "default") == "default"
    if not plain or not isinstance(speed, Tensor) or 2 * len(speed) != key.shape[-1]:
        raise PeftError(
            f"{source} is a prefix for rotary positions that are scaled or partial, and these keys are not turned"
        )
    angle = torch.cat([speed.double()] * 2).to(key.device) * by
    first, second = key.double().chunk(2, dim=-1)
    return (key.double() * angle.cos() + torch.cat([-second, first], -1) * angle.sin()).float()


def _read(given: Given, places: Places) -> list[Piece]:
    settings, sites = given.settings, _layers(places, given.folder)
    assert sites[0].heads is not None
    tokens, (_, heads, width) = settings.whole("num_virtual_tokens"), sites[0].heads
    whole = given.take(_NAME, (tokens, len(sites) * 2 * heads * width))
    held = whole.reshape(tokens, len(sites), 2, heads, width).permute(
        1, 2, 3, 0, 4
    )  # (layers, 2, heads, tokens, width)
    return [
        Piece(Prefix(length=tokens), site, {
            "key": _turned(key, -tokens, places, given.folder), "value": value.contiguous(),
        })
        for site, (key, value) in zip(sites, held, strict=True)
    ]  # fmt: skip


def _write(pieces: list[Piece], places: Places) -> Written:
    source = "the adapter"
    sites = _layers(places, source)
    by_key = {piece.site.key: piece for piece in pieces}
    lengths = {piece.tensors["key"].shape[1] for piece in pieces}
    if len(by_key) < len(pieces) or by_key.keys() != {site.key for site in sites} or len(lengths) > 1:
        raise PeftError(
            "PEFT has one prefix of one length in every layer, and this adapter does not: save it with adapter.save"
        )
    if not type(places.model).__name__.endswith("ForCausalLM"):
        raise PeftError(
            f"a prefix is written for causal language models, and the model is a {type(places.model).__name__}"
        )
    held: list[Tensor] = []
    for site in sites:
        piece = by_key[site.key]
        piece.expect(["key", "value"])
        held += [_turned(piece.tensors["key"], max(lengths), places, source), piece.tensors["value"]]
    whole = torch.stack(held)  # (layers * 2, heads, tokens, width)
    _, heads, tokens, width = whole.shape
    settings = {
        "num_virtual_tokens": tokens, "num_layers": len(sites), "num_attention_heads": heads,
        "token_dim": heads * width, "encoder_hidden_size": heads * width, "task_type": "CAUSAL_LM", "auto_mapping": None,
    }  # fmt: skip
    return Written({_NAME: whole.permute(2, 0, 1, 3).reshape(tokens, -1)}, settings)


FORM = Form(
    "PREFIX_TUNING",
    owns=lambda piece: type(piece.method) is Prefix,
    read=_read,
    write=_write,
    defaults={
        "encoder_hidden_size": None, "init_weights": None, "modules_to_save": None, "num_attention_heads": None,
        "num_layers": None, "num_transformer_submodules": 1, "num_virtual_tokens": None, "prefix_projection": False,
        "token_dim": None,
    },
    reads=frozenset({"num_virtual_tokens"}),
    harmless=frozenset(
        {"encoder_hidden_size", "init_weights", "num_attention_heads", "num_layers", "prefix_projection", "token_dim"}
    ),
    saves=False,
)  # fmt: skip
