"""Run a recipe's claim, and run it again with the mechanism switched off: the first must hold, the second must not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from acclimate.engine.files import write_whole
from acclimate.recipes.recipe import Recipe, all_recipes, recipe

__all__ = ["RESULTS", "results", "stale", "verify", "verify_all"]

RESULTS = Path(__file__).with_name("results.json")
"""The committed results of `verify --all`."""


def verify(name: str, seeds: Sequence[int] | None = None) -> dict[str, Any]:
    """One recipe's claim as a plain dict: what was measured against what must hold, and whether the control failed."""
    found = recipe(name)
    if not found.claims:
        raise ValueError(f"the recipe {name} has no claim to verify")
    used = tuple(found.seeds if seeds is None else seeds)
    sources = found.sources()  # before anything runs: what is edited meanwhile was not measured
    began = time.perf_counter()
    on = [_quiet(claim, used, True) for claim in found.claims]
    off = [_quiet(claim, used, False) for claim in found.claims]
    return {
        "recipe": name,
        "passed": all(finding.passed for finding in on),
        "measured": [dict(finding.measured) for finding in on],
        "required": [finding.required for finding in on],
        "control": [dict(finding.measured) for finding in off],
        "control_failed": not any(finding.passed for finding in off),
        "notes": [finding.note for finding in on if finding.note],
        "seeds": list(used),
        "seconds": round(time.perf_counter() - began, 1),
        "sources": sources,
    }


def _quiet(claim: Callable[[Sequence[int], bool], Any], seeds: Sequence[int], on: bool) -> Any:
    with torch.random.fork_rng(devices=[]):
        return claim(seeds, on)


def verify_all(
    told: Callable[[dict[str, Any]], None] = lambda result: None,
    only_stale: bool = False,
    jobs: int | None = None,
    path: Path = RESULTS,
) -> dict[str, dict[str, Any]]:
    """Every recipe's claim, several at a time on one thread each; the file is written after each of them.

    ``only_stale`` keeps the results whose sources have not changed. ``jobs=None`` means one for each core.
    """
    table = {name: each for name, each in all_recipes().items() if each.claims}
    found = {name: result for name, result in results(path).items() if name in table}
    due = [name for name, each in table.items() if not (only_stale and name in found and not stale(found[name], each))]
    with ProcessPoolExecutor(jobs or os.cpu_count(), get_context("spawn"), _one_thread) as pool:
        try:
            for done in as_completed([pool.submit(verify, name) for name in due]):
                result = done.result()
                found[result["recipe"]] = result
                write_whole(path, (json.dumps({"results": found}, indent=1, sort_keys=True) + "\n").encode())
                told(result)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return dict(sorted(found.items()))


def _one_thread() -> None:
    torch.set_num_threads(1)


def results(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """The committed results by recipe."""
    if not path.exists():
        return {}
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text())["results"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path.name} is damaged ({error}): `acclimate verify --all` writes it anew") from error
    return found


def stale(result: dict[str, Any], each: Recipe) -> bool:
    """Whether the code a result rests on has changed since."""
    return bool(result.get("sources") != each.sources())
