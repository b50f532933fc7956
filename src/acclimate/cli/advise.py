"""``acclimate advise``: what to do with a model on a target without labels, or whether to leave it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli.given import batches, first_batch, pairs
from acclimate.cli.output import aside, columns, say, write_json

if TYPE_CHECKING:
    from acclimate.choose.advice import Advice
    from acclimate.choose.report import Report

__all__ = ["EXAMPLE", "advise"]

EXAMPLE = (
    "acclimate advise --model acclimate.bench:pretrained --source digits:train --target digits:test --budget 5MB,2x"
)
_Data = typer.Option(metavar="DATA", help="CSV, JSON lines, Parquet, npz, an image folder, or a data set's name.")


def advise(
    model: Annotated[str, typer.Option(help="A folder or hub name of transformers, or package.module:function.")],
    target: Annotated[str, _Data],
    source: Annotated[str | None, _Data] = None,
    have: Annotated[
        str | None,
        typer.Option(help="target, or source,target: what may be taught on. By default whatever is given."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="What the adapter may cost: 5MB of file, 2x the forward, or 5MB,2x.")
    ] = None,
    among: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Recipes to try; all is every one of the kind.")
    ] = None,
    evaluate: Annotated[
        str | None, typer.Option("--eval", metavar="DATA", help="Labelled target data for a report; no pick sees it.")
    ] = None,
    take: Annotated[list[str], typer.Option(help="Which column is what: inputs=text.")] = [],  # noqa: B006
    size: Annotated[int, typer.Option(help="Rows a batch.")] = 64,
    seed: Annotated[int, typer.Option(help="Everything random comes from it.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The advice as JSON.")] = False,
) -> None:
    """Try what fits without the target's labels, and recommend a recipe with reasons, expected gain and cost.

    Labels that come with the target are dropped before anything sees them. The answer may be to leave the model alone.
    """
    from acclimate.choose.advice import advise as advised
    from acclimate.choose.budget import Budget
    from acclimate.cli.model import load
    from acclimate.recipes.advised import FIRST, candidates

    given = {"source": source, "target": target}
    wanted = set(have.split(",")) if have else {role for role, place in given.items() if place}
    absent = sorted(role for role in wanted if not given.get(role))
    if absent or "target" not in wanted:
        raise ValueError(f"--have {have} is not what was given: name target, and source where --source is given")
    limits = None if budget is None else Budget.parse(budget)
    sentences = candidates(wanted, FIRST if among is None else among.split(","))
    with aside():
        loaded = load(model)
        takes = pairs(take, "--take")
        known = None if source is None else batches(source, loaded, takes, size, seed)
        classes = None if known is None else known.classes
        rows = batches(target, loaded, takes, size, seed, classes)
        first_batch(rows, target, loaded.model)
        advice = advised(
            loaded.model, sentences, rows, known if "source" in wanted else None,
            budget=limits, seed=seed, progress=lambda name: say(f"tried {name}"),
        )  # fmt: skip
        truth = None
        if evaluate is not None:
            truth = advice.selection.report(batches(evaluate, loaded, takes, size, seed, classes))
    told = _told(advice, truth)
    if as_json:
        write_json(told)
        return
    print(columns(told["tried"]))
    for reason in advice.reasons:
        print(f"- {reason}")
    if advice.recipe is None:
        tried = len(advice.selection.trials) > 1
        print("leave the model alone" + (": nothing that was tried is thought to be better" if tried else ""))
    elif advice.recipe == "source_only":
        print("go on teaching it on the source: nothing that uses the target is thought to be better than that")
    else:
        gain = "" if advice.expected is None else f", expected gain at most {100 * advice.expected:+.1f} points"
        data = " ".join(f"--{role} {place}" for role, place in given.items() if place and role in _needs(advice.recipe))
        print(f"use {advice.recipe}{gain}: acclimate run {advice.recipe} --model {model} {data} --out adapted")


def _needs(name: str) -> frozenset[str]:
    from acclimate.recipes.recipe import recipe

    return recipe(name).needs


def _told(advice: Advice, truth: Report | None) -> dict[str, Any]:
    """The advice as plain values; ``tried`` has a row for each way that was tried, at the end of its run."""
    last = {trial.candidate: trial for trial in advice.selection.trials}
    rows = []
    for name, trial in last.items():
        cost = advice.costs.get(name)
        rows.append(
            {
                "way": name,
                "pick": "*" if name == advice.trial.candidate else "",
                **{validator: round(trial.scores[validator], 3) for validator in advice.by},
                "bytes": None if cost is None else cost.bytes,
                "times": None if cost is None else round(cost.flops / max(1, cost.base_flops), 2),
                **({} if truth is None else {"accuracy": round(_accuracy(truth, name), 4)}),
            }
        )
    return {
        "recipe": advice.recipe,
        "step": advice.trial.step,
        "expected_gain": advice.expected,
        "answers_changed": advice.changed,
        "reasons": list(advice.reasons),
        "refused": dict(advice.refused),
        "tried": rows,
    }


def _accuracy(truth: Report, name: str) -> float:
    return truth.unadapted if name == "unadapted" else truth.last[name]
