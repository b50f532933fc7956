"""When a model is taught, and on what: a loop names its data, orders the steps, and looks.

A loop is a frozen description. `fit` runs it: it owns the update, the checkpoint, the progress and the checks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, dataclass_transform

import torch
from torch import Tensor

from acclimate.data import Batch, Batches, as_batches
from acclimate.losses import Seen

__all__ = ["Feed", "Look", "Loop", "LoopError", "one_seen"]

Feed = Mapping[str, Batches]
"""The data of a run by the names the loop has for it."""

Look = Callable[[Batch], Seen]
"""Run the model on one batch, with whatever is to be seen of it."""


class LoopError(ValueError):
    """A loop was given data, a loss or players that do not fit it."""


@dataclass_transform(frozen_default=True)
@dataclasses.dataclass(frozen=True)
class Loop:
    """A frozen description. ``data`` names what it takes, ``gives`` the fields of `Seen` that it fills."""

    data: ClassVar[tuple[str, ...]] = ("train",)
    gives: ClassVar[frozenset[str]] = frozenset()
    epochs: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise LoopError(f"epochs={self.epochs} cannot work: at least one is made")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclasses.dataclass(frozen=True)(cls)

    def open(self, data: Any, takes: Mapping[str, str] | None = None, seed: int | None = None) -> Feed:
        """The data as batches by name, in the seed's order; one kind of data may come without its name."""
        if len(self.data) == 1 and not (isinstance(data, Mapping) and set(data) == set(self.data)):
            return {self.data[0]: as_batches(data, self._takes(self.data[0], takes), seed=seed)}
        if not isinstance(data, Mapping) or set(data) != set(self.data):
            found = ", ".join(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
            raise LoopError(
                f"{type(self).__name__} takes data as a mapping with {' and '.join(self.data)}, and found {found}: "
                f"pass {{{', '.join(f'{name!r}: ...' for name in self.data)}}}"
            )
        return {name: as_batches(data[name], self._takes(name, takes), seed=seed) for name in self.data}

    def _takes(self, name: str, takes: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """A target may lack the labels' column: what is there of it is never looked at."""
        if takes is None or name != "target":
            return takes
        return {what: column for what, column in takes.items() if what != "labels"} or None

    def length(self, feed: Feed) -> int:
        """Steps an epoch."""
        return len(feed[self.data[0]])

    def steps(self, feed: Feed, epoch: int) -> Iterator[tuple[Batch, ...]]:
        """The batches of each step of one epoch; the same for the same epoch."""
        for batch in feed[self.data[0]].epoch(epoch):
            yield (batch,)

    def see(self, look: Look, batches: tuple[Batch, ...]) -> Seen:
        """What the loss is shown of one step."""
        return look(batches[0])

    def describe(self) -> dict[str, Any]:
        return {"loop": type(self).__name__, **dataclasses.asdict(self)}  # type: ignore[call-overload]


def one_seen(parts: list[Seen]) -> Seen:
    """Several as one: everything that was seen of a whole set, row after row."""
    if not parts:
        raise LoopError("the data is empty: there is nothing to look at")

    def join(values: list[Tensor | None]) -> Tensor | None:
        there = [value for value in values if value is not None]
        return torch.cat(there) if there else None

    logits = join([part.logits for part in parts])
    assert logits is not None
    features = {at: torch.cat([part.features[at] for part in parts]) for at in parts[0].features}
    return Seen(
        None,
        logits,
        logits,
        join([part.labels for part in parts]),
        features,
        index=join([part.index for part in parts]),
    )
