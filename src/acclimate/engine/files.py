"""An adapter as one safetensors file: its tensors, and in the header its methods, sites and the base's fingerprint.

Written beside the old file, synced, and renamed over it. Read as a stranger's: the header is checked before it
is believed, the tensors against their digest, and nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import Tensor, nn

from acclimate.engine.adapter import Adapter, taken
from acclimate.engine.fingerprint import differences, fingerprint
from acclimate.engine.method import Method
from acclimate.engine.placing import seat
from acclimate.engine.references import filled, referred
from acclimate.engine.registry import Part
from acclimate.sites import Measured, Site, find

__all__ = ["FileError", "describe", "load", "save", "write"]

FORMAT = 1


class FileError(ValueError):
    """A file that is no adapter, is damaged, or belongs to another base."""


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> Path:
    """Write a safetensors file so that at every moment either the old or the new one is whole."""
    return write_whole(path, serialise({n: t.detach().cpu().contiguous() for n, t in tensors.items()}, dict(header)))


def write_whole(path: Path, data: bytes) -> Path:
    """Write beside and rename: at every moment either the old file or the new one is there, and whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        whole = "the file that was there is whole" if path.exists() else "nothing was written"
        raise OSError(error.errno, f"{path} could not be written ({error.strerror}); {whole}") from error
    return path


def save(adapter: Adapter, path: Path, references: Sequence[Path] = ()) -> Path:
    entry = adapter.entry
    named = entry.tensors()
    first: dict[int, str] = {}
    shared = {name: first[id(t)] for name, t in named.items() if first.setdefault(id(t), name) != name}
    tensors = {name: tensor for name, tensor in named.items() if name not in shared}
    tensors, elsewhere = referred(tensors, references, path, read)
    described = {
        "format": FORMAT,
        "name": entry.name,
        "parts": [{**part.method.describe(), "sites": list(part.keys), "widths": part.widths} for part in entry.parts],
        "shared": shared,
        **({"references": elsewhere} if references else {}),
        "base": fingerprint(list(sites_of(adapter.model, entry.parts).values())),
        "sha256": digest(tensors),
    }
    return write(path, tensors, {"format": "pt", "acclimate": json.dumps(described)})


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the bytes of every tensor, in the order of their names."""
    seen = hashlib.sha256()
    for name in sorted(tensors):
        seen.update(name.encode())
        plain = tensors[name].detach().cpu().contiguous()
        seen.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return seen.hexdigest()


def _digest_of(raw: bytes) -> str:
    """`digest` of what a file's bytes hold; they have been read, so that the offsets in them are sound."""
    start = 8 + int.from_bytes(raw[:8], "little")
    listed, seen, view = json.loads(raw[8:start]), hashlib.sha256(), memoryview(raw)
    for name in sorted(listed.keys() - {"__metadata__"}):
        begin, end = listed[name]["data_offsets"]
        seen.update(name.encode())
        seen.update(view[start + begin : start + end])
    return seen.hexdigest()


def describe(path: str | Path) -> dict[str, Any]:
    """What a file says of itself, checked for shape; the tensors are not read."""
    return read(Path(path), tensors=False)[0]


def read(path: Path, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a file, checked against each other."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get("acclimate")
        raw = path.read_bytes() if tensors else b""
        found = deserialise(raw) if tensors else {}
    except (SafetensorError, OSError) as error:
        raise FileError(
            f"{path} is not a whole safetensors file ({_reason(path, error)}): get it again from its source"
        ) from error
    if header is None:
        raise FileError(f"{path} is a safetensors file without an acclimate header: it was not saved by adapter.save")
    try:
        described = json.loads(header)
        version, parts = described["format"], described["parts"]
        shapely = isinstance(parts, list) and all(_part(part) for part in parts) and isinstance(described["name"], str)
        shapely = shapely and isinstance(described["base"], dict) and isinstance(described["shared"], dict)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileError(f"the header of {path} is damaged ({error}): get the file again from its source") from error
    if not shapely or version != FORMAT:
        raise FileError(f"{path} has format {version!r}, this version reads format {FORMAT}")
    if tensors and _digest_of(raw) != described.get("sha256"):
        raise FileError(f"the tensors of {path} are not those it was saved with: get the file again from its source")
    if tensors and "references" in described:
        found |= filled(path, described["references"], read)
    for name, source in described["shared"].items():
        if tensors and source not in found:
            raise FileError(f"{path} shares {name} with {source}, which it does not hold")
        if tensors:
            found[name] = found[source]
    return described, found


def _part(part: Any) -> bool:
    """A part of a header in the shape it was written in."""
    if not isinstance(part, dict) or not isinstance(part["sites"], list):
        return False
    widths = part.get("widths", {})
    wide = isinstance(widths, dict) and all(Measured.read(width) for width in widths.values())
    return wide and isinstance(part["method"], str) and all(isinstance(site, str) for site in part["sites"])


def _reason(path: Path, error: Exception) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(4)
        if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or start == b"PK\x03\x04":
            return "it is a pickle, which could run code and is never loaded"
    return str(error).splitlines()[0] if str(error) else "it is damaged"


def load(model: nn.Module, path: str | Path, name: str | None = None, base: str = "same") -> Adapter:
    """Load an adapter into a model: resident and enabled. ``base="any"`` skips the comparison with its own base.

    The model must have the sites the file names, in their shapes. Nothing changes if this raises.
    """
    path = Path(path)
    own, parts, found, tensors = opened(model, path, base)
    name = own if name is None else name
    taken(model, name)
    seat(model, name, parts, found, tensors, lambda expected: _same_names(path, expected, tensors))
    return Adapter(model, name)


def opened(
    model: nn.Module, path: Path, base: str = "same"
) -> tuple[str, list[Part], dict[str, Site], dict[str, Tensor]]:
    """The name, the parts, the sites in this model, and the tensors of a file that was made for it."""
    if base not in ("same", "any"):
        raise ValueError(f"base={base!r} is neither 'same' nor 'any'")
    described, tensors = read(path)
    try:
        parts = [
            Part(
                Method.from_description({k: v for k, v in part.items() if k not in ("sites", "widths")}),
                tuple(part["sites"]),
                {key: measured for key, each in part.get("widths", {}).items() if (measured := Measured.read(each))},
            )
            for part in described["parts"]
        ]
    except RecursionError as error:
        raise FileError(f"the header of {path} is nested too deep to be an adapter's") from error
    found = sites_of(model, parts, described["base"], path)
    unknown = sorted(found.keys() - described["base"].keys())
    problems = [f"it does not say what {key} was" for key in unknown] or differences(found, described["base"])
    problems = problems if base == "same" else []
    if problems:
        more = f", and {len(problems) - 1} more differences" if len(problems) > 1 else ""
        raise FileError(
            f"{path} was made for another base: {problems[0]}{more}; load it into its own base, or pass base='any'"
        )
    return described["name"], parts, found, tensors


def _same_names(path: Path, expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or extra:
        what = f"lacks {min(missing)}" if missing else f"holds {min(extra)}, which its method does not have"
        raise FileError(f"{path} {what}: it was saved by another version of the method")
    for name, tensor in expected.items():
        if tensor.shape != tensors[name].shape and not getattr(tensor, "grows", False):
            raise FileError(
                f"{name} in {path} has shape {tuple(tensors[name].shape)}, its method makes {tuple(tensor.shape)}"
            )


def sites_of(
    model: nn.Module, parts: list[Part], expected: Mapping[str, Any] | None = None, path: Path | None = None
) -> dict[str, Site]:
    sites = {s.key: s for kind in {part.method.kind for part in parts} for s in find(model, kind)}
    wanted = [key for part in parts for key in part.keys]
    missing = [key for key in wanted if key not in sites]
    if missing:
        kind, shape, _ = (expected or {}).get(missing[0], ["place", [], ""])
        raise FileError(
            f"{path} was made for another base: {missing[0]} ({kind} of shape {tuple(shape)}) is not in this model, "
            f"nor are {len(missing) - 1} more of its {len(wanted)} sites"
        )
    widths = {key: width for part in parts for key, width in part.widths.items()}
    return {k: sites[k].seen(widths[k]) if k in widths else sites[k] for k in wanted}
