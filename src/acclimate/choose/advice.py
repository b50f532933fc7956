"""Look at a model and at a target without labels, try what fits, and say what to do: which recipe, or to leave the model alone.

A candidate that cannot run on this model or data, or that costs more than the budget, is left out and says why. The others are
taught for a while (`select`), and validators pick together by their rankings. The pick is advice only where it is not the model as
it came, and where it changes at least one answer in a hundred. Nothing is tried where the source is there and the target cannot be
told from it (`alike`): validators rank what makes a model surer first, also where nothing has changed. What a pick is expected to
gain is what confidence on the source says of the target (`ThresholdedConfidence`), which is too much where a method makes the model
sure of itself; so it is no more than the share of answers that change, for nothing else can have been won.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.choose.alike import alike
from acclimate.choose.budget import Budget
from acclimate.choose.held_out import held_out, unlabelled
from acclimate.choose.selection import Selection, Taught, Trial
from acclimate.choose.trying import select
from acclimate.data import Batches, generator
from acclimate.engine import Cost, attach
from acclimate.loops import fit, predict

__all__ = ["TOGETHER", "Advice", "advise", "fitting"]

TOGETHER = ("ClassCluster", "MutualInformation")
"""The validators that pick. They were best on digits (docs/choosing-without-labels.md), where a run that collapsed was among the
trials, and classes in unequal shares."""

SAME = 0.05
"""Rows that chance sets this far apart so often are of one distribution, as far as anybody can tell."""

ASKED = 500
"""Rows of each side that are compared."""

LEAST = 0.01
"""A pick that changes fewer of the answers is not worth its adapter."""


@dataclass(frozen=True)
class Advice:
    """``recipe`` is None where the model is best left alone, ``by`` the validators that picked.

    ``expected`` is a gain in accuracy up to 1, None where there is no source to tell it by, or where what it tells is a loss, which
    the validators do not believe (a reason says so); ``changed`` is the share of the target's answers that the pick changes, which
    bounds it. ``costs`` are of all candidates that can run, ``refused`` says why others cannot; where the target cannot be told
    from the source none was taught.
    """

    recipe: str | None
    trial: Trial
    expected: float | None
    reasons: tuple[str, ...]
    costs: Mapping[str, Cost]
    refused: Mapping[str, str]
    selection: Selection
    by: tuple[str, ...]
    changed: float


def advise(
    model: nn.Module,
    candidates: Mapping[str, Taught],
    target: Any,
    source: Any = None,
    *,
    budget: Budget | None = None,
    by: Sequence[str] = TOGETHER,
    moments: int = 3,
    seed: int = 0,
    takes: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Advice:
    """Advice for this model on this target. The model is afterwards what it was; ``Advice.selection.restore`` puts the pick in.

    >>> import torch
    >>> from acclimate.choose.trying import _Parts
    >>> from acclimate import Affine, Entropy, Gradient
    >>> from acclimate.loops import source_free
    >>> made = _Parts({Affine(): "0"}, Entropy(), source_free(), Gradient(lr=0.1))
    >>> net = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3))
    >>> net.acclimate_roles = {"1": "head"}
    >>> advise(net, {"entropy": made}, torch.arange(128.0).sin().view(32, 4), budget=Budget(bytes=8)).refused
    {'entropy': 'its adapter has 32 bytes, and the budget is 8'}
    """
    costs, refused = fitting(model, candidates, target, source, budget=budget, seed=seed, takes=takes)
    chance = None if source is None else _alike(source, target, seed, takes)
    same = chance is not None and chance >= SAME
    left = {} if same else {name: made for name, made in candidates.items() if name not in refused}
    selection = select(model, left, target, source, moments=moments, seed=seed, takes=takes, progress=progress)
    known = [name for name in by if name in selection.trials[0].scores] or ["MutualInformation"]
    trial = selection.pick(*known)
    changed = _changed(model, selection, trial, unlabelled(target, takes))
    recipe = None if changed < LEAST else trial.candidate
    told = _told(selection, trial)
    reasons = _reasons(selection, trial, known, refused, changed, told)
    if same:
        reasons = (f"the target cannot be told from the source (p = {chance:.2f}): nothing has changed", *reasons[1:])
    expected = None if told is None or told < 0 else min(changed, told)
    return Advice(recipe, trial, expected, reasons, costs, refused, selection, tuple(known), changed)


def fitting(
    model: nn.Module,
    candidates: Mapping[str, Taught],
    target: Any,
    source: Any = None,
    *,
    budget: Budget | None = None,
    seed: int = 0,
    takes: Mapping[str, str] | None = None,
) -> tuple[dict[str, Cost], dict[str, str]]:
    """What each candidate costs, and why others cannot be used here: one step of each is taken, and undone."""
    feed: dict[str, Batches] = {"target": unlabelled(target, takes)}
    if source is not None:
        feed["source"] = feed["train"] = held_out(source, 0.2, seed, takes)[0]
    batch = next(iter(feed["target"])).inputs
    costs: dict[str, Cost] = {}
    refused: dict[str, str] = {}
    for name, made in candidates.items():
        missing = sorted(set(made.loop.data) - set(feed))
        if missing:
            refused[name] = f"it is taught on {' and '.join(missing)}, and there is none"
            continue
        adapter = None
        try:
            adapter = attach(model, dict(made.method), name=name, data=batch, seed=seed)
            costs[name] = adapter.cost(batch)
            over = "" if budget is None else budget.exceeded(costs[name])
            if over:
                refused[name] = over
                continue
            data = {part: feed[part] for part in made.loop.data}
            fit(
                model, data, made.loss, made.loop, made.rule, made.players,
                seed=seed, callbacks=(lambda run: run.stop(),), progress=False,
            )  # fmt: skip
        except (
            ValueError,
            TypeError,
            RuntimeError,
        ) as error:  # what rooms refuse with, and what a stranger's forward raises
            refused[name] = str(error).splitlines()[0]
        finally:
            if adapter is not None:
                adapter.detach()
    return costs, refused


def _alike(source: Any, target: Any, seed: int, takes: Mapping[str, str] | None) -> float | None:
    """The p-value for the inputs of both; None where they are not tensors of numbers, of one shape."""
    one, other = (_some(unlabelled(data, takes), seed) for data in (source, target))
    if one is None or other is None or one.shape[1:] != other.shape[1:]:
        return None
    return alike(one, other, seed=seed)


def _some(rows: Batches, seed: int) -> Tensor | None:
    """At most `ASKED` rows of the inputs, drawn by the seed."""
    drawn = torch.randperm(rows.count, generator=generator(seed))[:ASKED]
    inputs = next(rows.rows.read([drawn], generator(seed)))[0]
    plain = isinstance(inputs, Tensor) and inputs.is_floating_point() and bool(inputs.isfinite().all())
    return inputs if plain else None


def _changed(model: nn.Module, selection: Selection, trial: Trial, rows: Any) -> float:
    """The share of the target's rows that the pick answers otherwise."""
    before = predict(model, rows).argmax(-1)
    with selection.holding(trial):
        return float((predict(model, rows).argmax(-1) != before).double().mean())


def _told(selection: Selection, trial: Trial) -> float | None:
    """What confidence on the source says the pick gains; none where there is no source, or confidence that is not finite."""
    start, name = selection.trials[0], "ThresholdedConfidence"
    gain = trial.scores[name] - start.scores[name] if name in start.scores else math.nan
    return gain if math.isfinite(gain) else None


def _reasons(
    selection: Selection,
    trial: Trial,
    by: Sequence[str],
    refused: Mapping[str, str],
    changed: float,
    told: float | None,
) -> tuple[str, ...]:
    start = selection.trials[0]
    tried = len({each.candidate for each in selection.trials} - {start.candidate})
    moved = ", ".join(f"{name} {start.scores[name]:.3f} to {trial.scores[name]:.3f}" for name in by)
    if not tried:
        first = "nothing of what was asked about can be taught on this model and data"
    elif trial is start:
        first = f"{' and '.join(by)} rank the model as it came above all {tried} that were tried"
    else:
        first = (
            f"{' and '.join(by)} rank {trial.candidate} first of {tried} that were tried, at step {trial.step}: {moved}"
        )
    worth = "" if changed >= LEAST else f", and fewer than {LEAST:.0%} are not worth an adapter"
    few = [] if trial is start else [f"it changes {changed:.1%} of the answers{worth}"]
    if changed >= LEAST and told is not None and told < 0:
        few.append(
            f"confidence on the source expects {100 * told:+.1f} points of it, against the rankings: label some rows"
        )
    ended = [f"{each.candidate} ended early: {each.why}" for each in selection.trials if each.why]
    return (first, *few, *ended, *(f"{name} was left out: {why}" for name, why in refused.items()))
