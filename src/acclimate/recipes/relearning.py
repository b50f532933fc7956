"""What claims on the small network have in common: several methods on the same rearranged digits, beside the base."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from acclimate.bench.relearn import Relearned, network, rearranged, relearned
from acclimate.loops import evaluate, predict

__all__ = ["below", "compared", "parameters", "unadapted"]


@functools.cache
def unadapted() -> dict[str, float]:
    """The network as it came: cross-entropy in nats, and accuracy in percent, on held-out rearranged digits."""
    from torch.nn.functional import cross_entropy

    model, (images, labels) = network(), rearranged("test")
    found = evaluate(model, (images, labels)).accuracy
    assert found is not None
    return {"nats": float(cross_entropy(predict(model, (images,)), labels)), "accuracy": 100 * found}


def compared(
    ways: Mapping[str, Mapping[str, Any]], seeds: Sequence[int]
) -> tuple[dict[str, list[Relearned]], dict[str, Any]]:
    """Each way (the arguments of `relearned`) over the seeds, and a table of nats on held-out rearranged digits."""
    runs = {name: [relearned(seed=seed, **way) for seed in seeds] for name, way in ways.items()}
    base = unadapted()
    table: dict[str, Any] = {"unadapted": round(base["nats"], 3), "unadapted_accuracy": round(base["accuracy"], 1)}
    for name, found in runs.items():
        table[name] = [round(run.asked, 3) for run in found]
        table[f"{name}_accuracy"] = [round(run.accuracy, 1) for run in found]
        table[f"{name}_parameters"] = parameters(found[0])
    return runs, table


def parameters(run: Relearned) -> int:
    return sum(p.numel() for p in run.adapter.parameters())


def below(one: Sequence[Relearned], other: Sequence[Relearned], share: float = 1.0) -> bool:
    """Whether one loses at most this share of the other's nats, in each seed, and less than the unadapted network."""
    pairs = zip(one, other, strict=True)
    return all(a.asked < share * b.asked and a.asked < unadapted()["nats"] for a, b in pairs)
