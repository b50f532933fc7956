"""ADAPTION_PROMPT: `GatedPrompt` at the last attentions of Llama and Mistral.

    key = W_k p + b_k    value = W_v p + b_v    tanh(gate) = adaption_gate

PEFT keeps one prompt p a layer, here its keys and values are kept as they are; they are written if they come from a
prompt, which with fewer key-value heads than half the query heads they always do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from acclimate.methods import GatedPrompt
from acclimate.sites import Site, find
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.form import Form, Written
from acclimate.store.peft.refusal import PeftError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["FORM"]

_PROMPT, _GATE = "adaption_prompt", "adaption_gate"
_KNOWN = frozenset({"LlamaAttention", "MistralAttention"})
_TOLERANCE = 1e-6
"""Largest error of keys and values that a prompt may have, over the largest of them."""


def _fits(site: Site, places: Places, source: Path | str) -> tuple[int, int, int]:
    """(query heads, key-value heads, width) of an attention that PEFT's form can be one of."""
    if site.type not in _KNOWN or site.heads is None:
        raise PeftError(
            f"{source} puts a gated prompt at {site.path!r}, a {site.type}: PEFT and acclimate have a common one only at "
            f"{' and '.join(sorted(_KNOWN))} (at GPT-2, PEFT leaves the output projection out)"
        )
    if places.modules[f"{site.path}.o_proj"]._parameters.get("bias") is not None:
        raise PeftError(f"{source} puts a gated prompt at {site.path!r}, whose output bias PEFT adds twice")
    return site.heads


def _map(site: Site, places: Places) -> tuple[Tensor, Tensor]:
    """The matrix (2 * heads * width, hidden) and bias that make keys and values of a prompt."""
    matrices, biases = [], []
    for name in ("k_proj", "v_proj"):
        path = f"{site.path}.{name}"
        matrix = places.base(path, "weight").double()
        has = places.modules[path]._parameters.get("bias") is not None
        matrices.append(matrix)
        biases.append(places.base(path, "bias").double() if has else matrix.new_zeros(len(matrix)))
    return torch.cat(matrices), torch.cat(biases)


def _read(given: Given, places: Places) -> list[Piece]:
    tokens, by_path = given.settings.whole("adapter_len"), given.by_module(_PROMPT, _GATE)
    sites = {site.path: site for site in find(places.model, "attention")}
    _last(list(by_path), list(sites), given.folder)
    pieces: list[Piece] = []
    for path in by_path:
        site = sites[path]
        query_heads, heads, width = _fits(site, places, given.folder)
        matrix, bias = _map(site, places)
        prompt = given.take(f"{PREFIX}{path}.{_PROMPT}", (1, tokens, matrix.shape[1]))[0].to(matrix)  # (tokens, hidden)
        gate = given.take(f"{PREFIX}{path}.{_GATE}", (1,)).double()
        if not bool(gate.abs() < 1):
            raise PeftError(
                f"{given.folder} opens the gate of {path!r} to {gate.item():.3g}, and a gate here is a tanh"
            )
        made = (prompt @ matrix.mT + bias).reshape(tokens, 2, heads, width).permute(1, 2, 0, 3).float()
        shut = torch.atanh(gate).float().expand(query_heads).reshape(-1, 1, 1)
        held = {"key": made[0].contiguous(), "value": made[1].contiguous(), "gate": shut.contiguous()}
        pieces.append(Piece(GatedPrompt(length=tokens), site, held))
    return pieces


def _write(pieces: list[Piece], places: Places) -> Written:
    lengths = {piece.tensors["key"].shape[1] for piece in pieces}
    every = [site.path for site in find(places.model, "attention")]
    paths = [piece.site.path for piece in pieces]
    _last(paths, every, "the adapter")
    if len(lengths) > 1 or len(set(paths)) < len(paths):
        raise PeftError(
            "PEFT has one prompt of one length a layer, and this adapter does not: save it with adapter.save"
        )
    tensors: dict[str, Tensor] = {}
    for piece in pieces:
        piece.expect(["key", "value", "gate"])
        _fits(piece.site, places, "the adapter")
        gates = torch.tanh(piece.tensors["gate"].double()).flatten()
        if not torch.equal(gates, gates[:1].expand_as(gates)):
            raise PeftError(f"the heads of {piece.site.key} have gates of their own, and PEFT has one a layer")
        tensors[f"{PREFIX}{piece.site.path}.{_PROMPT}"] = _prompt(piece, places).unsqueeze(0)
        tensors[f"{PREFIX}{piece.site.path}.{_GATE}"] = gates[:1].float()
    settings = {"adapter_len": max(lengths), "adapter_layers": len(pieces), "target_modules": "self_attn"}
    return Written(tensors, settings)


def _prompt(piece: Piece, places: Places) -> Tensor:
    """The prompt (tokens, hidden) whose keys and values these are."""
    matrix, bias = _map(piece.site, places)
    wanted = torch.stack([piece.tensors["key"], piece.tensors["value"]]).double()  # (2, heads, tokens, width)
    wanted = wanted.permute(2, 0, 1, 3).flatten(1).to(matrix)  # (tokens, 2 * heads * width)
    prompt = torch.linalg.lstsq(matrix, (wanted - bias).mT, driver="gelsd").solution.mT.float()
    error = (prompt.double() @ matrix.mT + bias - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30)
    if error > _TOLERANCE:
        raise PeftError(
            f"the keys and values of {piece.site.key} are those of no prompt (the nearest is {100 * error:.1g} % off), "
            "and PEFT keeps a prompt: save it with adapter.save"
        )
    return prompt


def _last(paths: Sequence[str], every: list[str], source: Path | str) -> None:
    """Refuse attentions that are not the last ones of the model, which is all that PEFT's settings can say."""
    missing = next((path for path in paths if path not in every), None)
    if missing is not None:
        raise PeftError(
            f"{source} was made for another base: it adapts {missing!r}, which is no attention of this model"
        )
    odd = next((path for path in every[len(every) - len(paths) :] if path not in paths), None)
    if odd is not None or not all(path.endswith(".self_attn") for path in paths):
        raise PeftError(
            f"PEFT puts gated prompts at the last layers' self_attn, and {source} has none at {odd or paths[0]!r}"
        )


FORM = Form(
    "ADAPTION_PROMPT",
    owns=lambda piece: type(piece.method) is GatedPrompt,
    read=_read,
    write=_write,
    defaults={"adapter_layers": None, "adapter_len": None, "target_modules": None},
    reads=frozenset({"adapter_layers", "adapter_len"}),
    harmless=frozenset({"target_modules"}),
    saves=False,
)
