"""What a run leaves in its folder: the adapter, a stream's answers, and the record of both."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acclimate.cli.output import plain

if TYPE_CHECKING:
    from acclimate.recipes import Recipe, Result

__all__ = ["keep"]


def keep(result: Result, made: Recipe, name: str, out: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Write the adapter, a stream's answers, and the record of the run, which is returned."""
    named = re.sub(r"[^\w.-]", "_", name)  # an adapter's name is any string, a file's is not
    path = result.adapter.save(out / f"{named}.safetensors")
    record = {
        "recipe": made.name,
        "settings": dict(made.settings),
        **asked,
        "adapter": str(path),
        "bytes": path.stat().st_size,
        "parameters": sum(tensor.numel() for tensor in result.adapter.tensors().values()),
        "unadapted": _score(result.before),
        "adapted": _score(result.after),
        "steps": result.run.step if result.run else None,
        "seconds": round(result.run.seconds, 2) if result.run else None,
        "loss": result.run.loss if result.run else None,
        "events": result.events,
    }
    if result.logits is not None:
        answers = out / "answers.csv"
        answers.write_text(
            "row,class\n" + "".join(f"{row},{n}\n" for row, n in enumerate(result.logits.argmax(-1).tolist()))
        )
        record["answers"] = str(answers)
    (out / "run.json").write_text(json.dumps(plain(record), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return record


def _score(score: Any) -> dict[str, Any] | None:
    if score is None:
        return None
    return {"rows": score.rows, "accuracy": score.accuracy, "error": score.error}
