"""What the types that PEFT took from LyCORIS and its kin have in common: a module, its rank and alpha, one matrix each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor

from acclimate.sites import Site
from acclimate.sites.layout import Convolution, Matrix
from acclimate.store.peft.folder import PREFIX, Given
from acclimate.store.peft.form import Written
from acclimate.store.peft.lora import usual
from acclimate.store.peft.pattern import first, names
from acclimate.store.peft.refusal import PeftError
from acclimate.store.peft.saved import write_saved
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["DEFAULTS", "READS", "adapted", "one", "patterns", "ranks", "written"]

DEFAULTS: dict[str, Any] = {
    "exclude_modules": None, "init_weights": True, "layers_pattern": None, "layers_to_transform": None,
    "modules_to_save": None, "target_modules": None,
}  # fmt: skip
READS = frozenset(DEFAULTS) - {"init_weights"} | {"r"}


def one(sites: list[Site], source: object) -> Site:
    """The one site of a linear layer or an ungrouped convolution."""
    site = sites[0]
    if len(sites) > 1 or (type(site.layout) is not Matrix and not isinstance(site.layout, Convolution)):
        raise PeftError(
            f"{source} adapts {site.path!r}, a {site.type}: this type and a method here have a common form at linear layers "
            "and ungrouped convolutions alone"
        )
    return site


def adapted(given: Given, places: Places, *endings: str) -> Iterator[tuple[str, Site]]:
    """The prefix of a module's tensors and its site, for every module that has some with these endings."""
    for path in given.by_module(*endings):
        yield f"{PREFIX}{path}.", one(places.at(path, "weight", given.folder), given.folder)


def ranks(given: Given, path: str) -> tuple[int, float]:
    """The rank and the alpha that the settings say for a module."""
    settings = given.settings
    alphas, by_path = settings.numbers("alpha_pattern"), settings.numbers("rank_pattern")
    rank = by_path.get(first(by_path, path) or "", settings.number("r", 8))
    alpha = alphas.get(first(alphas, path) or "", settings.number("alpha", 8))
    if rank != int(rank) or rank < 1 or not alpha:
        raise settings.wrong("r", "a whole number above 0, with an alpha above 0,")
    return int(rank), alpha


def written(
    pieces: list[Piece], owns: Callable[[Piece], bool], places: Places, tensors: Mapping[str, Tensor], **settings: Any
) -> Written:
    """Tensors by path and role with what names their modules, and the modules saved beside them."""
    paths = {piece.site.path for piece in pieces if owns(piece)}
    if len(paths) < sum(map(owns, pieces)):
        raise PeftError("PEFT has one update of this type to a module, and this adapter two: save it with adapter.save")
    more, saved = write_saved([piece for piece in pieces if not owns(piece)], places, paths)
    targets = names(paths, set(places.modules))
    held = {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in tensors.items()}
    return Written({**held, **more}, {"target_modules": targets, "modules_to_save": saved, **settings})


def patterns(by_path: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """The settings that say rank and alpha of these modules."""
    r, rank_pattern = usual({path: rank for path, (rank, _) in by_path.items()})
    alpha, alpha_pattern = usual({path: alpha for path, (_, alpha) in by_path.items()})
    return {"r": r, "rank_pattern": rank_pattern, "alpha": alpha, "alpha_pattern": alpha_pattern}
