"""Law 9: loading, switching, deleting and running one resident adapter cost the same with a thousand as with two.

Counted, not timed: operations that torch dispatches, and calls that Python makes. Away from the sizes at which the
slab doubles, which is the one cost that is spread over many loads.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from table import METHODS, build, case, places, shake
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from acclimate import adapters, attach, load, only, rows
from acclimate.engine.batch import run_batch

FEW, MANY = 2, 1000


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations.append(str(func))
        return func(*args, **(kwargs or {}))


def _operations(action: Callable[[], Any]) -> list[str]:
    with _Count() as count:
        action()
    return count.operations


def _calls(action: Callable[[], Any]) -> int:
    seen = 0

    def look(frame: Any, event: str, argument: Any) -> None:
        nonlocal seen
        seen += event in ("call", "c_call")

    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(None)
    return seen


def _crowd(path: Path, name: str, count: int) -> nn.Module:
    """A model with ``count`` resident adapters, one of them enabled, and a free row."""
    model = build(case(name))
    load(model, path, name="0")
    entry = adapters(model)["0"].entry
    for i in range(1, count + 1):
        load(model, path, name=str(i)).disable()
    del adapters(model)[str(count)]
    assert entry.slab is not None and entry.slab.free and len(adapters(model)) == count
    return model


@functools.cache
def _file(folder: Path, method: str, name: str) -> Path:
    built = METHODS[method]
    model = build(case(name))
    return shake(attach(model, built, at=places(built, case(name))[0], name="x")).save(folder / f"{method}.safetensors")


_ACTIONS: dict[str, Callable[[nn.Module, Path, Any], Any]] = {
    "load": lambda model, path, batch: load(model, path, name="new"),
    "run": lambda model, path, batch: run_batch(model, batch),
    "disable": lambda model, path, batch: adapters(model)["0"].disable(),
    "enable": lambda model, path, batch: adapters(model)["1"].enable(),
    "only": lambda model, path, batch: _inside(only(model, "1"), model, batch),
    "rows": lambda model, path, batch: _inside(rows(model, ["0", "1", None]), model, batch),
    "delete": lambda model, path, batch: adapters(model).__delitem__("new"),
    "look up": lambda model, path, batch: adapters(model)["1"].entry,
}


def _inside(context: Any, model: nn.Module, batch: Any) -> None:
    with context, torch.no_grad():
        run_batch(model, batch)


@pytest.mark.parametrize(
    ("method", "name"), [("LoRA", "bert"), ("Affine", "resnet"), ("GatedPrompt", "bert"), ("Vera", "bert")]
)
def test_the_same_operations_with_a_thousand_as_with_two(method: str, name: str, tmp_path: Path) -> None:
    path, batch = _file(tmp_path, method, name), case(name).batch()
    few, many = _crowd(path, name, FEW), _crowd(path, name, MANY)
    for model in (few, many):
        _inside(rows(model, ["0", "1", None]), model, batch)
    counted: dict[str, list[Any]] = {}
    for what, action in _ACTIONS.items():
        with torch.no_grad():
            counted[what] = [_operations(functools.partial(action, model, path, batch)) for model in (few, many)]
    assert counted["run"][0] and counted["load"][0], "a count of nothing proves nothing"
    for what, (two, thousand) in counted.items():
        assert two == thousand, f"{what}: {len(two)} operations with {FEW}, {len(thousand)} with {MANY}"


def test_the_same_calls_of_python_with_a_thousand_as_with_two(tmp_path: Path) -> None:
    path, batch = _file(tmp_path, "LoRA", "bert"), case("bert").batch()
    few, many = _crowd(path, "bert", FEW), _crowd(path, "bert", MANY)
    found = {}
    for what, action in _ACTIONS.items():
        for model in (few, many):
            with torch.no_grad():
                found.setdefault(what, []).append(_calls(functools.partial(action, model, path, batch)))
    grown = {what: counts for what, counts in found.items() if counts[1] > counts[0] + 50}
    assert not grown, f"calls with {FEW} and with {MANY} resident: {grown}"


@pytest.mark.parametrize("count", [1, 3, 8])
def test_what_is_resident_is_in_no_walk(count: int, tmp_path: Path) -> None:
    path = _file(tmp_path, "LoRA", "bert")
    model = build(case("bert"))
    load(model, path, name="first")
    modules, parameters, state = len(list(model.modules())), len(list(model.parameters())), len(model.state_dict())
    assert (parameters, state) == (len(list(build(case("bert")).parameters())), len(build(case("bert")).state_dict()))
    for i in range(count):
        load(model, path, name=str(i))
    assert (len(list(model.modules())), len(list(model.parameters())), len(model.state_dict())) == (
        modules,
        parameters,
        state,
    )


@torch.no_grad()
def test_growing_and_deleting_keep_every_other_adapter(tmp_path: Path) -> None:
    """Rows are used again, and a slab that doubles moves what it holds."""
    model, batch = build(case("bert")), case("bert").batch()
    alone = {}
    for i in range(9):
        fresh = build(case("bert"))
        adapter = shake(attach(fresh, METHODS["LoRA"], name=str(i)), seed=i)
        alone[str(i)] = run_batch(fresh, batch)["last_hidden_state"]
        load(model, adapter.save(tmp_path / f"{i}.safetensors"), name=str(i))
        if i in (3, 5):
            del adapters(model)[str(i - 1)]
    for name in adapters(model):
        with only(model, name):
            assert torch.equal(run_batch(model, batch)["last_hidden_state"], alone[name]), name
    assert list(adapters(model)) == ["0", "1", "3", "5", "6", "7", "8"]
