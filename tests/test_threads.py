"""Law 13: a forward never mutates shared state: what runs at once gives what it gives alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from table import FAMILIES, Row, build, case, outputs, per_face, place, rows_where, same, shake
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from acclimate import LoRA, adapters, attach, only
from acclimate.engine.batch import map_tensors, run_batch

ROUNDS = 8


def _at_once(works: list[Callable[[], list[Tensor]]], rounds: int = ROUNDS) -> None:
    """Run each alone, then all at once and often; the results must be the same bits."""
    alone = [work() for work in works]
    start, wrong = threading.Barrier(len(works)), []

    def loop(i: int) -> None:
        try:
            start.wait()
            for _ in range(rounds):
                if not same(works[i](), alone[i]):
                    wrong.append(f"thread {i} gave something else")
        except Exception as error:
            wrong.append(f"thread {i}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]


def _forward(model: nn.Module, batch: Any, context: Callable[[], Any] = nullcontext) -> list[Tensor]:
    """Without touching the one random state that threads share."""
    found: list[Tensor] = []
    with torch.no_grad(), context():
        y = run_batch(model, batch)
    map_tensors(dict(y) if isinstance(y, dict) else y, lambda t: found.append(t) if t.is_floating_point() else None)
    return found


@rows_where(rows=per_face())
def test_one_model_in_four_threads(row: Row) -> None:
    """With different inputs, and with different adapters chosen in each."""
    model = build(row.case)
    if hasattr(model, "config"):
        model.config.use_cache = False
    for i, name in enumerate("ab"):
        shake(place(model, row, name=name, seed=i), seed=i)
    batches = [map_tensors(row.case.batch(), lambda t, i=i: t.roll(i, -1)) for i in range(4)]
    contexts: list[Callable[[], Any]] = [
        nullcontext, lambda: only(model), lambda: only(model, "a"), lambda: only(model, "b"),
    ]  # fmt: skip
    works = [lambda b=b, c=c: _forward(model, b, c) for b, c in zip(batches, contexts, strict=True)]
    _at_once(works)


@pytest.mark.parametrize("name", FAMILIES)
def test_resident_adapters_in_threads(name: str) -> None:
    model = build(case(name))
    if hasattr(model, "config"):
        model.config.use_cache = False
    for i, adapter in enumerate("abcd"):
        shake(attach(model, LoRA(rank=2), at="all", name=adapter, seed=i), seed=i).rest()
    _at_once([lambda a=a: _forward(model, case(name).batch(), lambda: only(model, a)) for a in "abcd"])


def test_training_in_threads_under_checkpointing() -> None:
    """Each backward pass recomputes with what its own forward chose."""
    model, x = build(case("awkward")), case("awkward").batch()
    for i, name in enumerate("abcd"):
        shake(attach(model, LoRA(rank=2), at="all", name=name, seed=i), seed=i)

    def work(name: str) -> list[Tensor]:
        with only(model, name):
            y = checkpoint(model, x, use_reentrant=False)
        return list(torch.autograd.grad(y.square().sum(), adapters(model)[name].parameters()))

    _at_once([lambda n=n: work(n) for n in "abcd"])


def test_no_forward_leaves_anything_behind() -> None:
    """Nothing on any module is another object after a forward than before it."""
    for name in FAMILIES:
        model = build(case(name))
        shake(attach(model, {LoRA(rank=2): "all"}))
        outputs(model, case(name).batch())

        def state(model: nn.Module = model) -> list[Any]:
            return [sorted((k, id(v)) for k, v in m.__dict__.items() if k != "rope_type") for m in model.modules()]

        before = state()
        outputs(model, case(name).batch())
        assert state() == before, name
