"""Checkpoints combined tensor by tensor as they are read, so that memory is bounded by the largest tensor.

    W = W_0 + rule(W_1 - W_0, ..., W_n - W_0), or rule(W_1, ..., W_n) without a base

Resident at once: one tensor of each checkpoint, and of their float32 differences and masks. The file is written beside and renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acclimate.compose.combination.rule import Rule
from acclimate.compose.combination.update import Update
from acclimate.engine import FileError

__all__ = ["combine_files"]

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


class Checkpoint:
    """The tensors of a safetensors file, or of a folder of them, by name; each is read, not mapped, when it is asked for."""

    def __init__(self, path: Path) -> None:
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not files or not all(file.exists() for file in files):
            raise FileNotFoundError(f"there is no checkpoint at {path}: give a safetensors file or a folder with some")
        self.path = path
        self.where: dict[str, tuple[Path, int, dict[str, Any]]] = {}
        for file in files:
            try:
                with safe_open(str(file), framework="pt"):  # checks that header and size agree
                    pass
            except (SafetensorError, OSError) as error:
                raise FileError(f"{file} is not a whole safetensors file: get it again from its source") from error
            with file.open("rb") as opened:
                length = int.from_bytes(opened.read(8), "little")
                header = json.loads(opened.read(length))
            for name, described in header.items():
                if name != "__metadata__":
                    self.where[name] = file, 8 + length, described

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.where[name][2]["shape"])

    def dtype(self, name: str) -> str:
        return str(self.where[name][2]["dtype"])

    def __getitem__(self, name: str) -> Tensor:
        file, start, described = self.where[name]
        first, last = described["data_offsets"]
        data = torch.empty(last - first, dtype=torch.uint8)
        with file.open("rb", buffering=0) as opened:
            opened.seek(start + first)
            view, done = memoryview(data.numpy().data), 0
            while done < len(view) and (more := opened.readinto(view[done:])):
                done += more
        return data.view(_TYPES[self.dtype(name)]).reshape(self.shape(name))


def combine_files(
    paths: Sequence[Path], out: Path, rule: Rule, weights: Sequence[float], base: Any = None, seed: int = 0
) -> Path:
    """Write the combination of checkpoints that have the same tensors, in the types of the base or else the first.

    What is no floating-point number is taken from there as it is. A shared basis is that of matrices, (out, rest): vectors,
    which have none, are combined entry by entry. Nothing is written if this raises.
    """
    found = [Checkpoint(path) for path in paths]
    ground = None if base is None else Checkpoint(Path(base))
    like = ground or found[0]
    _same(like, found)
    names = sorted(like.where)
    generator = torch.Generator().manual_seed(seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(_header(like, names))
            for name in names:
                tensor = _combined(name, like, found, ground, rule, weights, generator)
                file.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, out)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    return out


def _same(like: Checkpoint, found: Sequence[Checkpoint]) -> None:
    for each in found:
        missing, extra = like.where.keys() - each.where.keys(), each.where.keys() - like.where.keys()
        if missing or extra:
            what = f"lacks {min(missing)}" if missing else f"has {min(extra)} as well"
            raise FileError(f"{each.path} {what}, unlike {like.path}: combine checkpoints of one architecture")
        for name in like.where:
            if each.shape(name) != like.shape(name):
                raise FileError(
                    f"{name} has the shape {each.shape(name)} in {each.path} and {like.shape(name)} in {like.path}"
                )


def _header(like: Checkpoint, names: Sequence[str]) -> bytes:
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in names:
        dtype = like.dtype(name)
        if dtype not in _TYPES:
            raise FileError(f"{name} in {like.path} is of type {dtype}, which cannot be combined")
        stop = start + _TYPES[dtype].itemsize * torch.Size(like.shape(name)).numel()
        described[name] = {"dtype": dtype, "shape": list(like.shape(name)), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


@torch.no_grad()
def _combined(
    name: str, like: Checkpoint, found: Sequence[Checkpoint], ground: Checkpoint | None, rule: Rule,
    weights: Sequence[float], generator: torch.Generator,
) -> Tensor:  # fmt: skip
    first = like[name]
    if not first.is_floating_point():
        return first
    origin = None if ground is None else first.float()
    changes = [each[name].float() if origin is None else each[name].float() - origin for each in found]
    if rule.align == "basis":
        changes = [change.flatten(1) if change.dim() > 1 else change for change in changes]
        rule = rule if first.dim() > 1 else rule.using(align="none")
    mixed = rule.combined([Update(whole=change) for change in changes], weights, generator).dense().reshape(first.shape)
    return (mixed if origin is None else origin + mixed).to(first.dtype)
