"""What "auto" does on plain rows of pairs that nothing of it was chosen on: reviews, outlines of bones, pixels of digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from acclimate.arrays import AdaptedClassifier
from acclimate.arrays.adapter import Numbers
from acclimate.bench.domain_tasks import domain_tasks

__all__ = ["OPTIONS", "PROTOCOL", "measure"]

OPTIONS = ("small",)
"""What `acclimate bench` may ask beside the folder: the bones alone."""
ROWS = 1000
PROTOCOL = (
    'accuracy in percent on the target of logistic regression, taught by the source alone and with "auto" (`Consensus` at its '
    "defaults, chosen with SURF of Office-Caltech in sight, which has no row here); rows are networks' inputs as flat arrays, each "
    f"domain's columns brought to mean 0 and deviation 1, at most {ROWS} of a domain, drawn by seed 0. The whole target is adapted "
    "to without labels and is the test; nothing is selected"
)


def measure(data: Path, small: bool = False, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """A row for each pair, below those of each kind's mean."""
    rows: list[dict[str, Any]] = []
    for task in domain_tasks(data, small):
        kind = task.name.partition(",")[0]
        if kind == "surf":
            continue
        (x, y), (z, truth) = (_flat(*side) for side in (task.source, task.target))
        right = {"source": _right(None, x, y, z, truth), "auto": _right("auto", x, y, z, truth)}
        rows.append({"pair": task.name, **right, "over": round(right["auto"] - right["source"], 1), "protocol": kind})
        say(f"{task.name}: {right}")
    kinds = dict.fromkeys(str(row["protocol"]) for row in rows)
    return [_mean(kind, [row for row in rows if row["protocol"] == kind]) for kind in kinds] + rows


def _mean(kind: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    means = {name: round(mean(row[name] for row in rows), 1) for name in ("source", "auto", "over")}
    return {
        "kind": kind,
        "pairs": len(rows),
        **means,
        "below source": sum(row["over"] < 0 for row in rows),
        "protocol": "all",
    }


def _flat(inputs: Tensor, labels: Tensor) -> tuple[Numbers, Numbers]:
    kept = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))[:ROWS]
    rows = inputs[kept].flatten(1).double().numpy()
    deviation = rows.std(0)
    return (rows - rows.mean(0)) / np.where(deviation > 0, deviation, 1), labels[kept].numpy()


def _right(adapter: Any, x: Numbers, y: Numbers, z: Numbers, truth: Numbers) -> float:
    from sklearn.linear_model import LogisticRegression

    fitted = AdaptedClassifier(adapter, LogisticRegression(max_iter=1000)).fit(x, y, X_target=z)
    return round(100 * float((fitted.predict(z) == truth).mean()), 1)
