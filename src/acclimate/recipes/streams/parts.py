"""What the rows of this room have in common: what they train, by which rule, and how they are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from acclimate.bench import shift
from acclimate.bench.conditions import Moment, Order, Stream
from acclimate.bench.convnet import pretrained
from acclimate.bench.digits import digits
from acclimate.bench.streaming import streamed
from acclimate.engine import Method
from acclimate.loops import Adaptation, stream
from acclimate.losses import Entropy, Loss, Seen
from acclimate.losses.probability import entropy
from acclimate.methods import Affine, BatchStatistics, Full
from acclimate.players import Player, PlayerState
from acclimate.recipes.recipe import Finding
from acclimate.recipes.shifted import least_gain, rounded
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["adam", "altered", "at_norms", "brief", "gains", "outlives", "ran", "wholly", "without"]


def adam(lr: float) -> Gradient:
    """At one rate: a stream has no end to plan for."""
    return Gradient(lr=lr, optimiser="adam", schedule="constant", warmup=0)


def at_norms(blend: float = 1.0) -> dict[Method, At]:
    """Factors and offsets of norms, over statistics of the batch."""
    return {BatchStatistics(blend=blend): "all", Affine(): "norm"}


def without(made: Adaptation, *kinds: type[Player], loss: Loss | None = None) -> Adaptation:
    """The row less players of some kinds, and with another loss where one is given."""
    kept = tuple(player for player in made.players if not isinstance(player, kinds))
    return dataclasses.replace(made, players=kept, loss=loss or made.loss)


def altered(made: Adaptation, lr: float) -> Adaptation:
    """The row at another rate."""
    assert isinstance(made.rule, Gradient)
    return dataclasses.replace(made, rule=dataclasses.replace(made.rule, lr=lr))


def wholly(made: Adaptation, lr: float) -> Adaptation:
    """The row on all weights, at another rate."""
    return dataclasses.replace(altered(made, lr), method={BatchStatistics(): "all", Full(): "all"})


def brief(order: Order, seed: int, conditions: tuple[str, ...] = ("noise", "contrast"), size: int = 50) -> list[Moment]:
    """The held-out digits under two conditions."""
    return list(Stream(*digits("test"), order, 0.5, size, seed, conditions))


class _Counting(PlayerState):
    def __init__(self) -> None:
        self.taught = self.came = 0

    def look(self, seen: Seen) -> None:
        if seen.logits.requires_grad:
            self.came += len(seen.logits)
            self.taught += len(seen.logits) if seen.weights is None else int((seen.weights > 0).sum())


class Counted(Player):
    """Counts the rows that teach, the last of the players."""

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> _Counting:
        return _Counting()


class Ran(NamedTuple):
    """A stream that was answered: accuracy in percent, mean entropy, how far parameters moved, the share of rows that taught."""

    accuracy: float
    doubt: float
    moved: float
    taught: float


def ran(made: Adaptation | None, moments: Sequence[Moment], seed: int) -> Ran:
    """Without a guard; None is the unadapted model."""
    labels = torch.cat([moment.labels for moment in moments])
    if made is None:
        logits = streamed(None, moments, seed)[0]
        return Ran(shift.percent(logits, labels), float(entropy(logits).mean()), 0.0, 0.0)
    counted = dataclasses.replace(made, players=(*made.players, Counted()))
    with stream(pretrained(), counted, guard=False, seed=seed) as live:
        logits = torch.cat([live(moment.images) for moment in moments])
        state = live.learner.players[-1]
        assert isinstance(state, _Counting)
        moved = live.learner.moved if live.learner.learns else 0.0
        doubt = float(entropy(logits).mean())
        return Ran(shift.percent(logits, labels), doubt, moved, state.taught / max(1, state.came))


def gains(
    name: str,
    made: Adaptation,
    off: Adaptation | None,
    seeds: Sequence[int],
    on: bool,
    *,
    order: Order = "shuffled",
    least: float = 10.0,
    over_off: float | None = None,
    taught: float | None = None,
    moved: float | None = None,
    surer: float | None = None,
    note: str = "",
) -> Finding:
    """A row beside the unadapted model, statistics of the batch alone, and ``off``, the row without its mechanism.

    ``least`` points above the unadapted model, ``over_off`` above the row without; at most a share ``taught`` of the rows teach;
    parameters move at most ``moved`` times, and answers have at most ``surer`` times the entropy of, those without.
    """
    streams = [brief(order, seed) for seed in seeds]
    ways = {"unadapted": None, "batch_statistics_alone": shift.STATISTICS, "without": off}
    found = {key: [ran(way, m, s) for m, s in zip(streams, seeds, strict=True)] for key, way in ways.items()}
    found[name] = [ran(made, m, s) for m, s in zip(streams, seeds, strict=True)] if on else found["without"]
    rows = {key: [each.accuracy for each in runs] for key, runs in found.items()}
    pairs = list(zip(found[name], found["without"], strict=True))
    asked = [(f"at least {least:g} points above the unadapted model", least_gain(rows, name, "unadapted") >= least)]
    if over_off is not None:
        asked.append(
            (f"at least {over_off:g} points above the row without", least_gain(rows, name, "without") >= over_off)
        )
    if taught is not None:
        asked.append((f"at most {taught:g} of the rows teach", all(0 < each.taught <= taught for each in found[name])))
    if moved is not None:
        asked.append(
            (f"at most {moved:g} times as far moved as without", all(a.moved <= moved * b.moved for a, b in pairs))
        )
    if surer is not None:
        asked.append(
            (f"at most {surer:g} times the entropy without", all(a.doubt <= surer * b.doubt for a, b in pairs))
        )
    more = {
        f"{key}_{part}": [round(getattr(each, part), 4) for each in found[key]]
        for key in ("without", name)
        for part in ("doubt", "moved", "taught")
    }
    mixed = "mixed" if order == "shuffled" else order
    required = f"classes {mixed}, in each seed: {'; '.join(words for words, _ in asked)}"
    return Finding({**rounded(rows), **more}, required, all(held for _, held in asked), note)


def outlives(
    name: str, made: Adaptation, seeds: Sequence[int], on: bool, least: float, above: float, note: str = ""
) -> Finding:
    """A row as it is, and on all weights at a rate at which entropy alone collapses."""
    rate = 3e-2
    alone = wholly(Adaptation(at_norms(), Entropy(), adam(rate)), rate)
    streams = [shift.rounds(("noise", "rotation", "occlusion"), 1, seed, size=100) for seed in seeds]
    whole = f"{name}_on_all_weights"
    ways = {"unadapted": None, "entropy_on_all_weights": alone}
    ways |= {name: made, whole: wholly(made, rate)} if on else {}
    rows = {key: [ran(way, m, s).accuracy for m, s in zip(streams, seeds, strict=True)] for key, way in ways.items()}
    for key in (name, whole):
        rows.setdefault(key, rows["entropy_on_all_weights"])
    return Finding(
        rounded(rows),
        f"in each seed at least 5 points above the unadapted model; on all weights at a rate of {rate:g} at least {least:g} above "
        f"entropy, and {above:g} above the unadapted model",
        least_gain(rows, name, "unadapted") >= 5
        and least_gain(rows, whole, "entropy_on_all_weights") >= least
        and least_gain(rows, whole, "unadapted") >= above,
        note,
    )
