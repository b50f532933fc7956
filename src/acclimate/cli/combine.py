"""``acclimate combine A B C``: one adapter, or one checkpoint, of several; with ``--try``, which rule serves this data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from acclimate.cli.given import batches, pairs
from acclimate.cli.output import aside, columns, say, write_json

if TYPE_CHECKING:
    from acclimate.choose import Tried
    from acclimate.compose import Rule
    from acclimate.engine import Adapter
    from acclimate.loops import Score

__all__ = ["EXAMPLE", "combine"]

EXAMPLE = (
    "acclimate combine one/tent.safetensors two/tent.safetensors --model acclimate.bench:pretrained --rule ties "
    "--out both.safetensors"
)


def combine(
    files: Annotated[list[Path], typer.Argument(help="Adapters of one model, or checkpoints.")],
    out: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The adapters' model: a folder or hub name of transformers, or package.module:function."),
    ] = None,
    base: Annotated[Path | None, typer.Option(help="The checkpoint that checkpoints were tuned from.")] = None,
    rule: Annotated[str, typer.Option(help="docs/rules.md lists them.")] = "linear",
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the rule; again for more.")
    ] = [],  # noqa: B006
    weights: Annotated[str | None, typer.Option(metavar="W,W", help="One for each; ones when unsaid.")] = None,
    rank: Annotated[int | None, typer.Option(help="Cut what comes out to this rank, and say what that costs.")] = None,
    try_: Annotated[bool, typer.Option("--try", help="Try every rule on --eval, and say what was found.")] = False,
    evaluate: Annotated[str | None, typer.Option("--eval", metavar="DATA", help="Labelled data to score on.")] = None,
    take: Annotated[
        list[str], typer.Option(metavar="WHAT=COLUMN", help="Which column is what: labels=topic, inputs=text.")
    ] = [],  # noqa: B006
    size: Annotated[int, typer.Option(help="Rows in a batch.")] = 32,
    seed: Annotated[int, typer.Option(help="Decides whatever is drawn.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="What was found, as JSON.")] = False,
) -> None:
    """Make one adapter of several, or one checkpoint of several.

    With --try, every rule is scored on --eval beside each adapter alone and the unadapted model.
    """
    from acclimate.cli.run import settings
    from acclimate.compose import rule as named

    how = named(rule, **settings(pairs(set_, "--set")))
    shares = None if weights is None else [float(each) for each in weights.split(",")]
    if model is None:
        _refuse(try_, "--try scores adapters on a model: give it with --model")
        _checkpoints(files, out, base, how, shares, seed, as_json)
        return
    _refuse(
        base is not None, "--base is for checkpoints, and --model says that these are adapters of it: leave one out"
    )
    _refuse(try_ and evaluate is None, "--try needs labelled data to score on: give it with --eval")
    _refuse(how.weigh == "fisher" and evaluate is None, "this rule reads from data what matters: give it with --eval")
    _refuse(not try_ and out is None, "the combined adapter has to be written somewhere: give --out, or --try alone")
    record: dict[str, Any] = {"adapters": [str(file) for file in files]}
    with aside():
        from acclimate.cli.model import load
        from acclimate.engine import load as load_adapter

        loaded = load(model)
        adapters = [load_adapter(loaded.model, file, name=f"{n}: {file.stem}") for n, file in enumerate(files)]
        data = None if evaluate is None else batches(evaluate, loaded, pairs(take, "--take"), size, seed)
        if try_:
            record["tried"] = _tried(adapters, data, seed)
        if out is not None:
            record |= _combined(adapters, how, shares, rank, out, seed, data)
    if as_json:
        write_json(record)
        return
    _print(record)


def _refuse(wrong: bool, said: str) -> None:
    if wrong:
        raise ValueError(said)


def _checkpoints(
    files: list[Path],
    out: Path | None,
    base: Path | None,
    how: Rule,
    shares: list[float] | None,
    seed: int,
    as_json: bool,
) -> None:
    from acclimate.compose.combination.combine import combine as combined

    _refuse(out is None, "checkpoints are combined into a new one: give --out, or --model if these are adapters")
    assert out is not None
    combined(list(files), how, shares, base=base, out=out, seed=seed)
    record = {"checkpoints": [str(file) for file in files], "rule": how, "out": str(out), "bytes": out.stat().st_size}
    if as_json:
        write_json(record)
    else:
        print(f"{out} holds {record['bytes']:,} bytes, made of {len(files)} checkpoints by {how}")


def _combined(
    adapters: list[Adapter], how: Rule, shares: list[float] | None, rank: int | None, out: Path, seed: int, data: Any
) -> dict[str, Any]:
    from acclimate.compose import fisher
    from acclimate.compose.combination.combine import combine as combined

    matters = [fisher(adapter, data, seed=seed) for adapter in adapters] if how.weigh == "fisher" else None
    made = combined(adapters, how, shares, name=out.stem, rank=rank, seed=seed, importance=matters)
    made.save(out)
    return {"out": str(out), "rule": how, "error": made.error, "methods": [str(part.method) for part in made.parts]}


def _tried(adapters: list[Adapter], data: Any, seed: int) -> list[dict[str, Any]]:
    from acclimate.choose import try_rules

    found = try_rules(adapters, data, seed=seed, progress=lambda what: say(f"acclimate: tried {what}"))
    return [_row(each) for each in found]


def _row(tried: Tried) -> dict[str, Any]:
    return {
        "what": tried.what,
        "on the half for choosing": _value(tried.chosen_on),
        "on the other half": _value(tried.held_out),
        "why not": tried.why,
    }


def _value(score: Score | None) -> float | None:
    if score is None:
        return None
    return score.accuracy if score.accuracy is not None else score.error


def _print(record: dict[str, Any]) -> None:
    if "tried" in record:
        rows = [row for row in record["tried"] if not row["why not"]]
        print(columns([{key: value for key, value in row.items() if key != "why not"} for row in rows]))
        for row in record["tried"]:
            if row["why not"]:
                print(f"{row['what']} was not tried: {row['why not']}")
        print("choose by the first column; the second says what to expect, since it had no part in the choice")
    if "out" in record:
        cut = (
            f"; cutting the rank leaves out {100 * record['error']:.1f} % where it costs most"
            if record["error"]
            else ""
        )
        print(f"{record['out']} is {', '.join(record['methods'])}, made by {record['rule']}{cut}")
