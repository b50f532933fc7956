"""One safetensors file as kohya's scripts and LyCORIS write it: tensors called ``PREFIX_PATH.ROLE``, dots of the path as _.

lora_unet_down_0_attn.lora_up.weight        the role ``lora_up.weight`` of the module ``down.0.attn``
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from acclimate.engine.files import write
from acclimate.sites import Site
from acclimate.store.kohya.refusal import KohyaError
from acclimate.store.places import Places

__all__ = ["PREFIXES", "Block", "blocks", "names_in", "only", "underscored", "write_file"]

PREFIXES = ("lora_unet", "lora_transformer", "lora_te", "lora_te1", "lora_te2", "lora_te3", "lycoris")
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def underscored(path: str) -> str:
    """
    >>> underscored("down.0.attn")
    'down_0_attn'
    """
    return path.replace(".", "_")


@dataclass(frozen=True)
class Block:
    """What a file holds for one module. ``left`` are the tensors, by role, that nobody has taken yet."""

    source: Path
    name: str
    path: str
    left: dict[str, Tensor]

    def take(self, role: str, *shape: int | None) -> Tensor:
        """One tensor in float32, refused unless it has this shape; None is any size, trailing ones may be missing."""
        if role not in self.left:
            raise KohyaError(f"{self.source} lacks {self.name}.{role}: get it again from its source")
        tensor = self.left.pop(role)
        if tensor.dtype not in _DTYPES or not tensor.numel():
            what = tensor.dtype if tensor.numel() else "nothing"
            raise KohyaError(f"{self.name}.{role} in {self.source} holds {what}, which are no adapter's values")
        found, wanted = list(tensor.shape), list(shape)
        while wanted and len(wanted) > len(found) and wanted[-1] == 1:
            wanted.pop()
        while len(found) > len(wanted) and found[-1] == 1:
            found.pop()
        if len(found) != len(wanted) or any(w not in (None, f) for f, w in zip(found, wanted, strict=True)):
            sides = " x ".join("any" if side is None else str(side) for side in shape)
            raise KohyaError(
                f"{self.name}.{role} in {self.source} has the shape {tuple(tensor.shape)}, and {self.path!r} of this model "
                f"needs {sides}: load it into its own base"
            )
        return tensor.float().reshape(found)

    def alpha(self, rank: int) -> float:
        """What the factors are scaled by, times the rank; the rank itself where nothing is said."""
        said = self.left.pop("alpha", torch.tensor(float(rank)))
        value = float(said) if said.numel() == 1 else math.nan
        if not math.isfinite(value) or value < 0:
            raise KohyaError(f"{self.name}.alpha in {self.source} is no number from 0 up: get it again from its source")
        return value or float(rank)

    def finish(self, kind: str) -> None:
        if self.left:
            raise KohyaError(
                f"{self.source} holds {self.name}.{min(self.left)}, for which the type {kind} has no place here"
            )


def names_in(path: Path) -> list[str]:
    """The names of a file's tensors, none read; nothing where it is no safetensors file."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError):
        return []


def blocks(path: Path, places: Places, prefix: str | None) -> list[Block]:
    """The blocks of a file by the modules of this model that they are for."""
    held = _tensors(path)
    named: dict[str, dict[str, Tensor]] = {}
    for name, tensor in held.items():
        block, dot, role = name.partition(".")
        if not dot:
            raise KohyaError(f"{path} holds {name[:80]!r}, and tensors of this format are called MODULE.ROLE")
        named.setdefault(block, {})[role] = tensor
    if not named:
        raise KohyaError(f"{path} holds no tensor of an adapter: get it again from its source")
    chosen = _prefix(path, list(named), prefix)
    by_name: dict[str, list[str]] = {}
    for own in places.modules:
        by_name.setdefault(underscored(own), []).append(own)
    found = []
    for block, tensors in named.items():
        if not block.startswith(f"{chosen}_"):
            continue
        meant = by_name.get(block.removeprefix(f"{chosen}_"), [])
        if len(meant) != 1:
            why = f"could be {' or '.join(meant)}" if meant else "is not in this model"
            raise KohyaError(f"{path} was made for another base: it adapts {block}, which {why}")
        found.append(Block(path, block, meant[0], tensors))
    return found


def _prefix(path: Path, names: list[str], wanted: str | None) -> str:
    """The one prefix of a file, or the one that is asked for."""
    found: dict[str, str] = {}
    for name in names:
        known = [each for each in (*PREFIXES, *([wanted] if wanted else [])) if name.startswith(f"{each}_")]
        found.setdefault(max(known, key=len, default=""), name)
    if wanted is not None:
        if wanted not in found:
            raise KohyaError(f"{path} has nothing under the prefix {wanted!r}: it has {', '.join(sorted(found))}")
        return wanted
    if "" in found:
        raise KohyaError(
            f"{path} holds {found[''][:80]!r}, which begins with none of {', '.join(PREFIXES)}: say prefix="
        )
    if len(found) > 1:
        raise KohyaError(f"{path} is for several models, {', '.join(sorted(found))}: say which with prefix=")
    return next(iter(found))


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt"):
        raise KohyaError(
            f"{path} is a pickle, which could run code and is never loaded: save its tensors as safetensors first"
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        reason = (str(error).splitlines() or ["it is damaged"])[0]
        raise KohyaError(f"{path} is not a whole safetensors file ({reason}): get it again from its source") from error


def write_file(path: Path, prefix: str, written: Mapping[str, Mapping[str, Tensor]], places: Places) -> Path:
    """Write roles by module path, refused where two paths would get one name."""
    names = [underscored(own) for own in places.modules]
    tensors: dict[str, Tensor] = {}
    for own, roles in written.items():
        if names.count(underscored(own)) > 1:
            raise KohyaError(
                f"{own!r} is another module's name once its dots are underscores: save it with adapter.save"
            )
        tensors |= {f"{prefix}_{underscored(own)}.{role}": tensor.clone() for role, tensor in roles.items()}
    return write(path, tensors, {"format": "pt", "ss_network_module": "lycoris.kohya"})


def only(sites: list[Site], kind: str) -> Site:
    """The one site of a parameter, for types that have no form for a part of it."""
    if len(sites) > 1:
        raise KohyaError(
            f"{sites[0].path!r} is a fused projection, of which {kind} adapts all at once and nothing here does"
        )
    return sites[0]
