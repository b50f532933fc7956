"""Tensors that an adapter's file does not hold but says where they are: in which other file, and under which name there.

Whatever one of the other files holds bit for bit need not be written again, so a composition of stored adapters is a file of its
gates alone. The other files lie in its folder, or below, and each is known by the digest of its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Read", "BrokenReference", "filled", "referred"]

Read = Callable[[Path], tuple[dict[str, Any], dict[str, Tensor]]]
"""The header and the tensors of an adapter's file."""


class BrokenReference(ValueError):
    """A reference that leads nowhere, or to something else than what was saved."""


def referred(
    tensors: Mapping[str, Tensor], files: Sequence[Path], beside: Path, read: Read
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What is left to be written, and where the rest is: ``{"files": {path: sha256}, "tensors": {name: [path, name there]}}``."""
    left, where, used = dict(tensors), {}, {}
    for file in files:
        try:
            relative = file.resolve().relative_to(beside.resolve().parent).as_posix()
        except ValueError as error:
            raise BrokenReference(
                f"{file} does not lie in the folder of {beside} or below, so the two could not be moved together"
            ) from error
        header, held = read(file)
        for name, tensor in list(left.items()):
            there = next((other for other, each in held.items() if _same(each, tensor)), None)
            if there is not None:
                where[name] = [relative, there]
                used[relative] = header["sha256"]
                del left[name]
    return left, {"files": used, "tensors": where}


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one.cpu(), other.detach().cpu())


def filled(path: Path, references: Any, read: Read) -> dict[str, Tensor]:
    """The tensors that a file refers to; the text may come from a stranger."""
    if not isinstance(references, dict) or not all(isinstance(references.get(k), dict) for k in ("files", "tensors")):
        raise BrokenReference(f"the references of {path} are damaged: get the file again from its source")
    held: dict[str, dict[str, Tensor]] = {}
    for file, digest in references["files"].items():
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise BrokenReference(f"{path} refers to {file}, which is not in its folder: such a file is not opened")
        other = path.parent / file
        if not other.exists():
            raise BrokenReference(f"{path} refers to {other}, which is not there: keep the two together")
        header, held[file] = read(other)
        if header["sha256"] != digest:
            raise BrokenReference(f"{other} is not what it was when {path} was saved: get the one that belongs to it")
    found = {}
    for name, place in references["tensors"].items():
        if not isinstance(place, list) or len(place) != 2 or place[1] not in held.get(place[0], {}):
            raise BrokenReference(f"{path} refers to {place} for {name}, where there is none")
        found[name] = held[place[0]][place[1]]
    return found
