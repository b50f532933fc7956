"""``acclimate convert``: a format recognised by what lies there, and any weight update as a plain LoRA with its error said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import factory
import pytest
import torch
from table import shake
from torch import Tensor, nn
from typer.testing import CliRunner

import acclimate as acc
from acclimate.cli.app import app

MODEL = ["--model", "factory:deep"]
MATRICES = ["0.weight", "2.weight", "4.weight"]


def call(*words: Any) -> Any:
    return CliRunner().invoke(app, ["convert", *map(str, words)])


def rows(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(torch.linspace(-1, 1, 12).reshape(3, 4))


def kept(tmp_path: Path, method: acc.Method, at: Any) -> tuple[Path, Tensor]:
    """A file of an adapter, and what the model puts out with it."""
    model = factory.deep()
    adapter = shake(acc.attach(model, method, at=at, name="mine"), size=0.4)
    return adapter.save(tmp_path / "mine.safetensors"), rows(model)


@pytest.mark.parametrize("to", ["peft", "kohya", "acclimate"])
def test_there_and_back(to: str, tmp_path: Path) -> None:
    path, expected = kept(tmp_path, acc.LoRA(rank=2), MATRICES)
    there, back = tmp_path / ("there" + (".safetensors" if to != "peft" else "")), tmp_path / "back.safetensors"
    done = call(path, there, *MODEL, "--to", to)
    assert done.exit_code == 0, done.stderr
    record = json.loads(call(there, back, *MODEL, "--json").stdout)
    assert (record["from"], record["to"], record["methods"]) == (to, "acclimate", ["LoRA(rank=2)"])
    model = factory.deep()
    acc.load(model, back)
    assert torch.allclose(rows(model), expected, atol=1e-6)


@pytest.mark.parametrize(
    "method", [acc.Kronecker(factor=2), acc.Hadamard(rank=2), acc.DoRA(rank=2), acc.Full()], ids=str
)
def test_anything_at_weights_becomes_a_lora_and_what_it_costs_is_said(method: acc.Method, tmp_path: Path) -> None:
    path, expected = kept(tmp_path, method, MATRICES)
    errors = []
    for rank in (1, 2, 64):
        done = call(path, tmp_path / "lora.safetensors", *MODEL, "--to-lora", "--rank", rank, "--json")
        assert done.exit_code == 0, done.stderr
        record = json.loads(done.stdout)
        assert set(record["errors"]) == set(MATRICES)
        errors.append(record["error"])
    assert 0 < errors[0] < 1 and errors == sorted(errors, reverse=True) and errors[2] < 1e-6
    model = factory.deep()
    acc.load(model, tmp_path / "lora.safetensors")
    assert torch.allclose(rows(model), expected, atol=1e-5)
    assert "overall, rank 1 leaves out" in call(path, tmp_path / "l", *MODEL, "--to-lora", "--rank", 1).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "x", *MODEL], "there is nothing at nowhere"),
        (["mine.safetensors", "x", *MODEL, "--to", "onnx"], "--to onnx is none of acclimate,"),
        (["mine.safetensors", "x", *MODEL, "--rank", "3"], "give both, or neither"),
        (["mine.safetensors", "x", *MODEL, "--to-lora", "--rank", "0"], "--rank 0 leaves nothing"),
        (["mine.safetensors", "x.safetensors", *MODEL, "--to", "kohya"], "has no type that holds BoRA"),
        (["mine.safetensors", "x", *MODEL, "--prefix", "lora_te"], "--prefix is for files of kohya's scripts"),
        (["mine.bin", "x", *MODEL], "is a pickle, which could run code and is never loaded"),
        (["mine.txt", "x", *MODEL], "is no adapter of any of them"),
    ],
)
def test_a_mistake_is_a_sentence(words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path, acc.BoRA(rank=2), MATRICES)
    (tmp_path / "mine.bin").write_bytes(b"\x80\x02")
    (tmp_path / "mine.txt").write_text("adapter")
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2 and said in " ".join(done.stderr.split()), done.stderr
    assert not list(tmp_path.glob("x*"))
