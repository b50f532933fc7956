"""The head beside an adapter: the model's own linear classifier, as `Head`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from acclimate.methods import Head
from acclimate.store.adapterhub.folder import HEAD, Given, settings, tensors
from acclimate.store.adapterhub.refusal import HubError
from acclimate.store.piece import Piece
from acclimate.store.places import Places

__all__ = ["read_head", "write_head"]


def read_head(folder: Path, places: Places) -> list[Piece]:
    """The pieces for a folder's head; none where it has none."""
    if not any((folder / name).exists() for name in HEAD):
        return []
    said = settings(folder / HEAD[0])
    held = tensors(folder, HEAD[1], HEAD[2])
    given = Given(folder, "", said, held, places, True)
    path = next((name.removesuffix(".weight") for name in held if name.endswith(".weight")), "")
    site = places.calls.get(path)
    if said.get("config") is not None or held.keys() != {f"{path}.weight", f"{path}.bias"} or site is None:
        raise HubError(
            f"{folder} has a head beside its adapter, {sorted(held)[0]!r} and more, that is none of this model's own linear ones: "
            "leave it with head=False, or load it into a model that has it"
        )
    if not isinstance(site.module, nn.Linear):
        raise HubError(f"{folder} has a head for {path!r}, which is a {site.type} of this model and no linear layer")
    offset = given.take(f"{path}.bias", None)
    matrix = given.take(f"{path}.weight", len(offset), site.module.in_features)
    return [Piece(Head(classes=len(offset)), site, {"matrix": matrix, "offset": offset})]


def write_head(pieces: list[Piece], said: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings and the tensors of a head."""
    if len(pieces) > 1 or not isinstance(pieces[0].site.module, nn.Linear):
        raise HubError(
            "AdapterHub saves one linear head beside an adapter, and this one has another: save it with adapter.save"
        )
    (piece,) = pieces
    path, classes = piece.site.path, len(piece.tensors["offset"])
    labels = {f"LABEL_{number}": number for number in range(classes)}
    config = {**said, "config": None, "name": None, "num_labels": classes, "label2id": labels}
    return config, {f"{path}.weight": piece.tensors["matrix"], f"{path}.bias": piece.tensors["offset"]}
