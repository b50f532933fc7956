"""The rules on real fine-tunes of one character LSTM: how well each combination knows each corpus.

The headlines are the text that one of the fine-tunes was made from, the other two corpora are new to all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from acclimate.bench.character_lstm import CharacterLSTM, asked, perplexity, read_lstm
from acclimate.compose import NAMED, combine, extract
from acclimate.engine import Adapter, only

__all__ = ["PROTOCOL", "measure"]

CHARACTERS = 1000
TUNED = ("hacker_news", "reddit_apple_android")
PROTOCOL = (
    f"perplexity of a character, the first {CHARACTERS} of each corpus; differences of both fine-tunes to the base, weights 1, "
    "rules at their defaults, seed 0, nothing selected"
)


def measure(data: Path) -> list[dict[str, Any]]:
    """A row for the base, each fine-tune, and each rule over both. ``data`` is the folder with ``weights`` and ``lm``."""
    weights = data / "weights"
    texts = _texts(data)
    model = read_lstm(weights / "textgenrnn_weights.hdf5")
    tuned = {name: read_lstm(weights / f"textgenrnn_{name}.hdf5") for name in TUNED}
    adapters: list[Adapter] = [extract(model, each, name) for name, each in tuned.items()]
    rows = [_row("unadapted", model, texts)]
    rows += [_row(adapter.name, model, texts, adapter.name) for adapter in adapters]
    for name, rule in NAMED.items():
        made = combine(adapters, rule, name="combined")
        rows.append(_row(name, model, texts, made.name))
        made.detach()
    return rows


def _row(what: str, model: CharacterLSTM, texts: Mapping[str, tuple[Tensor, Tensor]], *names: str) -> dict[str, Any]:
    with only(model, *names):
        return {"what": what, **{corpus: round(perplexity(model, text), 3) for corpus, text in texts.items()}}


def _texts(data: Path) -> dict[str, tuple[Tensor, Tensor]]:
    files = {"headlines": "hacker_news_2000.txt", "news": "ptb.test.txt", "plays": "tinyshakespeare.txt"}
    found = {}
    for corpus, file in files.items():
        lines = [line.strip() for line in (data / "lm" / file).read_text(encoding="utf-8").splitlines()]
        before, after = asked([line for line in lines[1:] if line][:100], data / "weights" / "textgenrnn_vocab.json")
        found[corpus] = before[:CHARACTERS], after[:CHARACTERS]
    return found
