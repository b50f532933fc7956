"""The demo's third job: two adapters that were taught apart, as one, and side by side in one batch."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import acclimate as acc
from acclimate.bench.docstrings import Texts, docstrings
from acclimate.bench.minilm import encode_texts, minilm
from acclimate.cli.demo_task import TOKENS
from acclimate.cli.output import say
from acclimate.data import Batches, LengthBuckets, as_batches
from acclimate.methods.head import pool
from acclimate.report import Section, Table, Text, bars

__all__ = ["together"]

TRAIN, TEST = 320, 160
HALVES = ("first half", "second half")


class Reader(nn.Module):
    """The encoder with the head that the first job taught: texts in, logits out, (rows, classes)."""

    def __init__(self, encoder: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        answer: Tensor = self.head(
            pool(self.encoder(input_ids=input_ids, attention_mask=attention_mask), attention_mask)
        )
        return answer


def together(out: Path) -> tuple[list[dict[str, Any]], list[Section]]:
    """Rows for the table and sections for the report; the adapters' files are left in the folder."""
    train, test = docstrings("train"), docstrings("test")
    encoder, tokenizer = minilm()
    model = Reader(encoder, _head(encoder, out / "head-only.safetensors"))
    adapters = []
    for number, name in enumerate(HALVES):
        say(f"   the {name} of the classes")
        adapter = acc.attach(model, acc.LoRA(rank=8), at="encoder.*attention*", name=name)
        learn = _batches(train, tokenizer, TRAIN, number)
        acc.fit(model, learn, acc.CrossEntropy(), acc.loops.finetune(epochs=2), precision="fastest", progress=True)
        adapter.disable()
        adapter.save(out / f"{name.replace(' ', '-')}.safetensors")
        adapters.append(adapter)
    held = [_held(test, tokenizer, number) for number in range(2)]
    rows = [_row("unadapted (head only)", model, held), *(_row(name, model, held, name) for name in HALVES)]
    for rule in ("linear", "ties"):
        made = acc.combine(adapters, rule, name=rule)
        rows.append(_row(f"combined: {rule}", model, held, rule))
        made.detach()
    for tree in (acc.Average(*HALVES), acc.Nearest(*HALVES, grain="row", top=1)):
        joined = acc.compose(model, tree, name="tree")
        rows.append(_row(str(tree), model, held, "tree"))
        joined.detach()
    rows.append(_by_row(model, held))
    return rows, _sections(rows, len(train.classes))


def _head(encoder: nn.Module, path: Path) -> nn.Linear:
    """The head of the first job as a layer."""
    adapter = acc.load(encoder, path, name="head")
    found = {name.rpartition("/")[2]: tensor.clone() for name, tensor in adapter.tensors().items()}
    adapter.detach()
    head = nn.Linear(found["matrix"].shape[1], found["matrix"].shape[0])
    head.load_state_dict({"weight": found["matrix"], "bias": found["offset"]})
    return head


def _chosen(texts: Texts, most: int, half: int) -> tuple[list[str], Tensor]:
    """Texts of one half of the classes, drawn by a fixed shuffle."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(1)).tolist()
    low = len(texts.classes) // 2
    mine = [i for i in order if (texts.labels[i] >= low) == bool(half)][:most]
    return [texts.texts[i] for i in mine], torch.tensor([texts.labels[i] for i in mine])


def _batches(texts: Texts, tokenizer: Any, most: int, half: int) -> Batches:
    collate = functools.partial(encode_texts, tokenizer, max_length=TOKENS)
    return as_batches(_chosen(texts, most, half), size=32, policy=LengthBuckets(), collate=collate)


def _held(texts: Texts, tokenizer: Any, half: int) -> tuple[dict[str, Tensor], Tensor]:
    asked, labels = _chosen(texts, TEST, half)
    found: dict[str, Tensor] = encode_texts(tokenizer, asked, max_length=TOKENS)
    return found, labels


@torch.no_grad()
def _row(what: str, model: nn.Module, held: list[tuple[dict[str, Tensor], Tensor]], *names: str) -> dict[str, Any]:
    with acc.only(model, *names):
        right = [model(**x).argmax(-1) == y for x, y in held]
    return _scores(what, right)


@torch.no_grad()
def _by_row(model: nn.Module, held: list[tuple[dict[str, Tensor], Tensor]]) -> dict[str, Any]:
    """Both halves in one batch, each row with the adapter of its half."""
    width = max(x["input_ids"].shape[1] for x, _ in held)
    both = {
        key: torch.cat([nn.functional.pad(x[key], (0, width - x[key].shape[1])) for x, _ in held]) for key in held[0][0]
    }
    names = [name for name, (_, y) in zip(HALVES, held, strict=True) for _ in y]
    with acc.rows(model, names):
        answers = model(**both).argmax(-1)
    right = answers.split([len(y) for _, y in held])
    return _scores("each row its own, one batch", [a == y for a, (_, y) in zip(right, held, strict=True)])


def _scores(what: str, right: list[Tensor]) -> dict[str, Any]:
    shares = [float(each.double().mean()) for each in right]
    return {"adapters": what, **dict(zip(HALVES, shares, strict=True)), "both": sum(shares) / 2}


def _sections(rows: list[dict[str, Any]], classes: int) -> list[Section]:
    return [
        Text(
            f"The same encoder, with the head that was taught above. Two adapters learn apart, each {TRAIN} texts of one half of "
            f"the {classes} classes, and are asked about {TEST} texts of each half from other files. Then they are one: by rules "
            "that give one plain adapter, in trees, and each row of one batch with the adapter of its half, which must be told "
            "which half that is. Seed 0, nothing selected on the test texts.",
            "Two adapters together",
        ),
        Table(
            rows, best={"both": "max"}, baseline=rows[0]["adapters"], formats=dict.fromkeys((*HALVES, "both"), ".1%")
        ),
        bars({row["adapters"]: row["both"] for row in rows}),
    ]
