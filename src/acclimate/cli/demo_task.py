"""The demo's first job: a sentence encoder learns a new task, three ways, beside the encoder as it came."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import acclimate as acc
from acclimate.bench.docstrings import Texts, docstrings
from acclimate.bench.minilm import encode_texts, minilm
from acclimate.cli.output import say
from acclimate.data import Batches, InOrder, LengthBuckets, as_batches
from acclimate.engine import Method
from acclimate.engine.precision import fastest
from acclimate.methods.head import pool
from acclimate.report import Number, Section, Table, Text, bars
from acclimate.report.section import Figures
from acclimate.sites import At

__all__ = ["new_task"]

TRAIN, TEST, TOKENS, EPOCHS = 1400, 600, 18, 2
UNADAPTED = "unadapted (nearest class mean)"


def new_task(out: Path) -> tuple[list[dict[str, Any]], list[Section]]:
    """Rows for the table and sections for the report; the adapters' files are left in the folder."""
    train, test = docstrings("train"), docstrings("test")
    model, tokenizer = minilm()
    learn = _batches(train, tokenizer, TRAIN, LengthBuckets())
    held = _batches(test, tokenizer, TEST, InOrder())
    classes = len(train.classes)
    rows: list[dict[str, Any]] = [
        {
            "method": UNADAPTED, "accuracy": nearest_mean(model, learn, held, classes), "trained": 0, "seconds": None,
            "peak MB": None, "file bytes": None,
        }
    ]  # fmt: skip
    head = acc.Head(classes=classes)
    ways: dict[str, dict[Method, At]] = {
        "head only": {head: ""},
        "LoRA": {acc.LoRA(rank=8): "attention", head: ""},
        "full": {acc.Full(): ["embeddings*", "encoder*"], head: ""},  # the pooler's answer is not used
    }
    for name, method in ways.items():
        rows.append(_taught(name, model, method, learn, held, out / f"{name.replace(' ', '-')}.safetensors"))
    return rows, _sections(rows, train, test)


def _taught(
    name: str, model: nn.Module, method: dict[Method, At], learn: Batches, held: Batches, path: Path
) -> dict[str, Any]:
    say(f"   {name}")
    adapter = acc.attach(model, method, name=name)
    began = time.perf_counter()
    with peak() as memory:
        acc.fit(model, learn, acc.CrossEntropy(), acc.loops.finetune(epochs=EPOCHS), precision="fastest", progress=True)
    seconds = time.perf_counter() - began
    score = acc.evaluate(model, held)
    trained = sum(p.numel() for p in adapter.parameters())
    adapter.save(path)
    adapter.detach()
    return {
        "method": name, "accuracy": score.accuracy, "trained": trained, "seconds": round(seconds, 1),
        "peak MB": round(memory[0] / 2**20), "file bytes": path.stat().st_size,
    }  # fmt: skip


def _batches(texts: Texts, tokenizer: Any, most: int, policy: Any) -> Batches:
    """The first so many of the texts, drawn over all files by a fixed shuffle."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))[:most].tolist()
    chosen = [texts.texts[i] for i in order], torch.tensor([texts.labels[i] for i in order])
    collate = functools.partial(encode_texts, tokenizer, max_length=TOKENS)
    return as_batches(chosen, size=32, policy=policy, collate=collate)


@torch.no_grad()
def nearest_mean(model: nn.Module, learn: Batches, held: Batches, classes: int) -> float:
    """How right the encoder is as it came: each text gets the class whose training texts' mean embedding is nearest."""

    def embed(batches: Batches) -> tuple[Tensor, Tensor]:
        found = [(pool(model(**b.inputs), b.inputs["attention_mask"]), b.labels) for b in batches]
        labels = [label for _, label in found if label is not None]
        return nn.functional.normalize(torch.cat([f for f, _ in found])), torch.cat(labels)

    features, labels = embed(learn)
    means = torch.stack([features[labels == number].mean(0) for number in range(classes)])
    asked, truth = embed(held)
    return float(((asked @ nn.functional.normalize(means).T).argmax(-1) == truth).double().mean())


@contextmanager
def peak() -> Iterator[list[int]]:
    """The most memory the process holds inside, in bytes, looked at twenty times a second."""
    import psutil

    process, most, over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            most[0] = max(most[0], process.memory_info().rss)
            over.wait(0.05)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def _precision() -> str:
    return str(fastest(torch.device("cpu")) or torch.float32).removeprefix("torch.")


def _sections(rows: list[dict[str, Any]], train: Texts, test: Texts) -> list[Section]:
    by_name = {row["method"]: row for row in rows}
    lora, full = by_name["LoRA"], by_name["full"]
    return [
        Text(
            "The MiniLM sentence encoder (22.7 M parameters) learns to tell which part of Python's standard library a "
            f"docstring comes from: {len(train.classes)} classes, {TRAIN} of {len(train)} texts to learn from and {TEST} "
            f"of {len(test)} to be asked about, from other files. {EPOCHS} epochs, batch 32, {TOKENS} tokens, forward in "
            f"{_precision()}, seed 0, nothing selected on the test texts.",
            "A new task",
        ),
        Figures(
            [
                Number(f"{lora['accuracy']:.1%}", "right with LoRA", f"{by_name[UNADAPTED]['accuracy']:.1%} unadapted"),
                Number(
                    f"{lora['trained'] / full['trained']:.1%}", "of full's parameters", f"{lora['trained']:,} trained"
                ),
                Number(
                    f"{lora['file bytes'] / 2**20:.1f} MB", "on disk", f"{full['file bytes'] / 2**20:.0f} MB in full"
                ),
            ]
        ),
        Table(
            rows,
            best={"accuracy": "max"},
            baseline=UNADAPTED,
            formats={"accuracy": ".1%", "trained": ",", "file bytes": "bytes"},
        ),
        bars({row["method"]: row["accuracy"] for row in rows}),
    ]
