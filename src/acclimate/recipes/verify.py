"""Run a recipe's claim, and run it again with the mechanism switched off: the first must hold, the second must not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

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
        "seeds": list(used),
        "seconds": round(time.perf_counter() - began, 1),
        "sources": found.sources(),
    }


def _quiet(claim: Callable[[Sequence[int], bool], Any], seeds: Sequence[int], on: bool) -> Any:
    with torch.random.fork_rng(devices=[]):
        return claim(seeds, on)


def verify_all(
    told: Callable[[dict[str, Any]], None] = lambda result: None, write: bool = True
) -> dict[str, dict[str, Any]]:
    """Every recipe's claim; the results file is written when all are done."""
    found: dict[str, dict[str, Any]] = {}
    for name, each in all_recipes().items():
        if each.claims:
            found[name] = verify(name)
            told(found[name])
    if write:
        RESULTS.write_text(json.dumps({"results": found}, indent=1, sort_keys=True) + "\n")
    return found


def results() -> dict[str, dict[str, Any]]:
    """The committed results by recipe."""
    if not RESULTS.exists():
        return {}
    try:
        found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["results"]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{RESULTS.name} is damaged ({error}): `acclimate verify --all` writes it anew") from error
    return found


def stale(result: dict[str, Any], each: Recipe) -> bool:
    """Whether the code a result rests on has changed since."""
    return bool(result.get("sources") != each.sources())
