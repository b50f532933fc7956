"""Three real tasks for small pretrained networks, each with few examples to learn from.

intents       what a customer of a bank wants, 20 of 77         MiniLM        Casanueva et al., "Efficient Intent Detection
                                                                              with Dual Sentence Encoders", 2020
docstrings    which part of the standard library a text is of   MiniLM        needs no data of others
digits        digits on photographs                             ResNet-20     MNIST-M of Ganin, Lempitsky, "Unsupervised Domain
                                                                              Adaptation by Backpropagation", 2015
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from acclimate.bench import docstring_task
from acclimate.bench.docstrings import docstrings
from acclimate.bench.minilm import encode_texts, minilm
from acclimate.bench.resnet import normalised, read_resnet
from acclimate.data import Batches, LengthBuckets

__all__ = ["TASKS", "Task", "real_tasks"]

INTENTS = 20
TRAIN, TEST, BATCH, TOKENS = 240, 400, 16, 24
EPOCHS = {"intents": 3, "docstrings": 2, "digits": 5}
TASKS = {
    "intents": f"What a customer of a bank wants, {INTENTS} of the 77 intents of Banking77; MiniLM, which was taught sentences.",
    "docstrings": "Which part of Python's standard library a text is of; MiniLM, which was taught other texts.",
    "digits": "Digits on photographs, MNIST-M; a ResNet-20 that was taught ten classes of photographs, CIFAR-10.",
}


@dataclass(frozen=True)
class Task:
    """A network, what it learns from and what it is asked, and where its head goes; ``attends`` says that it has attention."""

    name: str
    network: str
    model: nn.Module
    train: Batches
    test: Batches
    classes: int
    epochs: int
    head: str
    attends: bool


def real_tasks(data: Path) -> list[Task]:
    """All of them; ``data`` is the folder with ``text``, ``digits`` and ``weights``."""
    return [_intents(data / "text"), _docstrings(), _digits(data)]


def _intents(folder: Path) -> Task:
    names: list[str] = []
    parts = []
    for part in ("train", "test"):
        with open(folder / f"banking77_{part}.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = names or sorted({row["category"] for row in rows})[:INTENTS]
        rows = [row for row in rows if row["category"] in names]
        parts.append(([row["text"] for row in rows], torch.tensor([names.index(row["category"]) for row in rows])))
    return _texts("intents", parts, len(names))


def _docstrings() -> Task:
    parts = [(found.texts, torch.tensor(found.labels)) for found in (docstrings("train"), docstrings("test"))]
    return _texts("docstrings", parts, docstring_task.classes())


def _texts(name: str, parts: Sequence[tuple[Sequence[str], Tensor]], classes: int) -> Task:
    model, tokenizer = minilm()
    collate = functools.partial(encode_texts, tokenizer, max_length=TOKENS)
    train, test = (
        Batches([texts[row] for row in drawn], labels[drawn], BATCH, policy=LengthBuckets(window=10), collate=collate)
        for (texts, labels), drawn in zip(parts, _drawn([len(labels) for _, labels in parts]), strict=True)
    )
    return Task(name, "MiniLM", model, train, test, classes, EPOCHS[name], "", True)


def _digits(data: Path) -> Task:
    with np.load(data / "digits" / "mnist_m_4k.npz") as held:
        images = normalised(torch.from_numpy(held["X"]).permute(0, 3, 1, 2) / 255)
        labels = torch.from_numpy(held["y"]).long()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:TRAIN], order[TRAIN : TRAIN + TEST]
    model = read_resnet(data / "weights" / "cifar10_resnet20-12fca82f.th")
    return Task(
        "digits", "ResNet-20", model, Batches(images[train], labels[train], BATCH), Batches(images[test], labels[test]),
        10, EPOCHS["digits"], "head", False,
    )  # fmt: skip


def _drawn(counts: Sequence[int]) -> list[list[int]]:
    """Rows to learn from and to be asked about, a fixed draw."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randperm(count, generator=generator)[:wanted].tolist()
        for count, wanted in zip(counts, (TRAIN, TEST), strict=True)
    ]
