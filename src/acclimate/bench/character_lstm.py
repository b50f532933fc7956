"""A character LSTM and its real fine-tunes, as files that a peer published, and how well each knows a text.

    embedding (characters, 100), two LSTMs of 128 units, attention over [embedding, first, second], the next character

Forty characters go in, padded on the left with zeros. The files (textgenrnn, MIT) are Keras', with the input kernels of each gate
in the order of cuDNN. They are not part of this package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

__all__ = ["LENGTH", "CharacterLSTM", "asked", "perplexity", "read_lstm"]

LENGTH = 40
UNITS = 128
START = "<s>"


class CharacterLSTM(nn.Module):
    """Logits for the next character, (rows, characters), from (rows, 40) numbers of characters.

    >>> CharacterLSTM(7)(torch.zeros(2, 40, dtype=torch.long)).shape
    torch.Size([2, 7])
    """

    def __init__(self, characters: int = 465) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, 100)
        self.first = nn.LSTM(100, UNITS, batch_first=True)
        self.second = nn.LSTM(UNITS, UNITS, batch_first=True)
        self.attention = nn.Linear(100 + 2 * UNITS, 1, bias=False)
        self.head = nn.Linear(100 + 2 * UNITS, characters)

    def forward(self, x: Tensor) -> Tensor:
        embedded = self.embedding(x)
        first, _ = self.first(embedded)
        second, _ = self.second(first)
        every = torch.cat([embedded, first, second], -1)  # (rows, 40, 356)
        shares = self.attention(every).softmax(1)
        answer: Tensor = self.head((every * shares).sum(1))
        return answer


def read_lstm(path: Path) -> CharacterLSTM:
    """The network with the weights of a Keras file, in evaluation mode. Needs h5py."""
    import h5py

    found: dict[str, Tensor] = {}
    with h5py.File(path) as file:

        def keep(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):  # in a group in its layer's, numbered when Keras made several models
                found[f"{name.split('/')[0]}/{name.split('/')[-1].removesuffix(':0')}"] = torch.from_numpy(item[()])

        file.visititems(keep)
    state = {
        "embedding.weight": found["embedding/embeddings"],
        "attention.weight": found["attention/attention_W"].T,
        "head.weight": found["output/kernel"].T,
        "head.bias": found["output/bias"],
    }
    for layer, name in {"first": "rnn_1", "second": "rnn_2"}.items():
        inputs, recurrent = found[f"{name}/kernel"].chunk(4, 1), found[f"{name}/recurrent_kernel"].chunk(4, 1)
        state[f"{layer}.weight_ih_l0"] = torch.cat([kernel.reshape(UNITS, -1) for kernel in inputs])
        state[f"{layer}.weight_hh_l0"] = torch.cat(list(recurrent))
        state[f"{layer}.bias_ih_l0"], state[f"{layer}.bias_hh_l0"] = found[f"{name}/bias"].chunk(2)
    model = CharacterLSTM(len(found["embedding/embeddings"]))
    model.load_state_dict({key: value.contiguous() for key, value in state.items()})
    return model.eval()


def asked(lines: Sequence[str], vocabulary: Path) -> tuple[Tensor, Tensor]:
    """Every character of the lines with the forty before it: (rows, 40) and (rows,). Unknown characters are left out."""
    numbers: dict[str, int] = json.loads(vocabulary.read_text(encoding="utf-8"))
    before, after = [], []
    for line in lines:
        known = [numbers[START], *(numbers[c] for c in line if c in numbers), numbers[START]]
        for place in range(1, len(known)):
            seen = known[max(0, place - LENGTH) : place]
            before.append([0] * (LENGTH - len(seen)) + seen)
            after.append(known[place])
    return torch.tensor(before), torch.tensor(after)


@torch.no_grad()
def perplexity(model: nn.Module, text: tuple[Tensor, Tensor]) -> float:
    """The exponential of the mean cross-entropy of a character, in nats."""
    losses = [
        nn.functional.cross_entropy(model(x), y, reduction="sum")
        for x, y in zip(torch.split(text[0], 512), torch.split(text[1], 512), strict=True)
    ]
    return float((torch.stack(losses).sum() / len(text[1])).exp())
