"""One of several: adapters of a model, models, or checkpoints on disk, by one rule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from acclimate.compose.combination.adapters import combine_adapters
from acclimate.compose.combination.extract import extract
from acclimate.compose.combination.files import combine_files
from acclimate.compose.combination.fisher import Importance
from acclimate.compose.combination.plain import Combined
from acclimate.compose.combination.rule import Rule
from acclimate.compose.combination.rule import rule as named
from acclimate.engine import Adapter, MethodError

__all__ = ["combine", "fold"]


@overload
def combine(
    given: Sequence[Adapter] | Sequence[nn.Module],
    rule: str | Rule = ...,
    weights: Sequence[float] | None = ...,
    *,
    base: Any = ...,
    name: str = ...,
    rank: int | None = ...,
    seed: int = ...,
    importance: Sequence[Importance] | None = ...,
) -> Combined: ...


@overload
def combine(
    given: Sequence[str | Path],
    rule: str | Rule = ...,
    weights: Sequence[float] | None = ...,
    *,
    out: str | Path,
    base: Any = ...,
    seed: int = ...,
) -> Path: ...


def combine(
    given: Sequence[Any],
    rule: str | Rule = "linear",
    weights: Sequence[float] | None = None,
    *,
    base: Any = None,
    out: str | Path | None = None,
    name: str = "combined",
    rank: int | None = None,
    seed: int = 0,
    importance: Sequence[Importance] | None = None,
) -> Combined | Path:
    """Combine adapters of one model, models of one architecture (``base`` is the one they were tuned from), or checkpoints
    (paths, streamed to ``out``; without a ``base`` the weights themselves are combined).

    ``weights`` are ones by default, ``rank`` cuts what comes out, ``seed`` decides what is dropped at random, ``importance`` is
    what `fisher` gives for each adapter, for a rule that weighs by it. Adapters that were combined are disabled. Nothing changes
    if this raises.

    >>> from acclimate.engine import attach
    >>> from acclimate.methods import LoRA
    >>> model = nn.Linear(4, 4)
    >>> made = [attach(model, LoRA(rank=rank), at="weight", name=f"rank {rank}") for rank in (1, 2)]
    >>> combine(made, weights=[0.5, 0.5], rank=2).parts[0].method
    LoRA(rank=2)
    """
    how = named(rule) if isinstance(rule, str) else rule
    if not given:
        raise MethodError("nothing was given to combine: give adapters, models or checkpoints")
    shares = [1.0] * len(given) if weights is None else [float(weight) for weight in weights]
    if len(shares) != len(given):
        raise MethodError(f"{len(shares)} weights for {len(given)} to combine: give one for each")
    kinds = {kind for each in given for kind in (Adapter, nn.Module, str, Path) if isinstance(each, kind)}
    if kinds == {Adapter}:
        return combine_adapters(list(given), how, shares, name, rank, seed, importance)
    if importance is not None:
        raise MethodError("importances are of adapters: extract(base, model) makes an adapter of a model")
    if kinds == {nn.Module}:
        return _models(list(given), how, shares, base, name, rank, seed)
    if kinds and kinds <= {str, Path}:
        if out is None:
            raise MethodError("checkpoints are combined into a new one: say where, with out=")
        return combine_files([Path(each) for each in given], Path(out), how, shares, base, seed)
    raise MethodError(f"{given!r} are not all adapters, all models or all paths: combine one kind at a time")


def fold(adapter: Adapter, name: str | None = None, rank: int | None = None) -> Combined:
    """One plain adapter that does what an adapter or a composition does: exact, unless ``rank`` cuts it.

    Raises a `MethodError` for what acts on what passes, which no weight can do.
    """
    how = named("task_arithmetic")
    return combine_adapters([adapter], how, [1.0], f"{adapter.name} folded" if name is None else name, rank)


def _models(
    models: list[nn.Module], rule: Rule, weights: list[float], base: Any, name: str, rank: int | None, seed: int
) -> Combined:
    if not isinstance(base, nn.Module):
        raise MethodError("models are combined by what each adds to the one they were tuned from: give it as base=")
    differences: list[Adapter] = []
    try:
        differences = [extract(base, model, f"{name} {index}") for index, model in enumerate(models)]
        return combine_adapters(differences, rule, weights, name, rank, seed)
    finally:
        for difference in differences:
            difference.detach()
