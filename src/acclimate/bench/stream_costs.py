"""What a step on a stream costs: its time over that of the frozen model's pass, and the bytes it keeps for the backward pass."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.stream_tasks import StreamTask
from acclimate.engine import saved_bytes
from acclimate.loops import Adaptation, Stream, lean, stream

__all__ = ["costs"]

WARM, TIMED, SETTLED = 3, 8, 40
PROTOCOL = (
    "the median of {timed} steps over the median of the frozen model's passes that were timed between them, one thread, after "
    "{warm} steps, in batches of {rows} under one condition; guarded the mean of as many steps, which is once between two audits, "
    "after {settled} steps, whether the guard trusts the adapted model by then or not; bytes are what a forward keeps for the "
    "backward pass, lean inside `acclimate.loops.lean`; to train the whole network on such a batch keeps {full:,}"
)


def costs(
    task: StreamTask, ways: Mapping[str, Adaptation | None], say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """A row for each method: steps without and with the guard, as multiples of the frozen pass; whether it was trusted; bytes."""
    (protocol, *_), threads = task.protocols.values(), torch.get_num_threads()
    arrivals = list(protocol.flow(task.source))
    batches = [arrival.inputs for arrival in arrivals if arrival.condition == arrivals[0].condition]
    frozen = copy.deepcopy(task.model)
    full = saved_bytes(copy.deepcopy(task.model).train().requires_grad_(), batches[0])
    line = PROTOCOL.format(timed=TIMED, warm=WARM, settled=SETTLED, rows=len(batches[0]), full=full)
    rows = []
    torch.set_num_threads(1)
    try:
        for name, way in ways.items():
            if way is None:
                continue
            row: dict[str, Any] = {
                "method": name,
                "step": None,
                "guarded": None,
                "trusted": None,
                "kept_bytes": None,
                "lean_bytes": None,
                "why": "",
            }
            try:
                row["step"], _, (row["kept_bytes"], row["lean_bytes"]) = _timed(
                    task.model, frozen, way, batches, guard=False
                )
                row["guarded"], row["trusted"], _ = _timed(task.model, frozen, way, batches, guard=True)
            except ValueError as error:  # what every room refuses with
                row["why"] = str(error).split(":")[0]
            rows.append({**row, "protocol": f"{line}; {task.name}; {protocol}"})
            say(f"{name}: {row['step'] or row['why']}")
    finally:
        torch.set_num_threads(threads)
    return rows


def _timed(
    model: nn.Module, frozen: nn.Module, way: Adaptation, batches: list[Tensor], guard: bool
) -> tuple[float, bool, tuple[int, int]]:
    """The ratio, whether the adapted model answered at the end, and the bytes that one step keeps, plainly and lean."""
    with stream(model, way, guard=guard, name="bench") as live:
        warm, middle = (SETTLED, mean) if guard else (WARM, median)
        for batch in (batches * warm)[:warm]:
            live(batch)
        steps, passes = [], []
        for batch in (batches * TIMED)[:TIMED]:
            passes.append(_seconds(_without_gradient(frozen), batch))
            steps.append(_seconds(live, batch))
        kept = _kept(live, batches[0]) if live.learner.learns and not guard else (0, 0)
        return float(f"{middle(steps) / median(passes):.3g}"), live.trusted, kept


def _kept(live: Stream, batch: Tensor) -> tuple[int, int]:
    plain = saved_bytes(live.model, batch)
    with lean():
        return plain, saved_bytes(live.model, batch)


def _without_gradient(model: nn.Module) -> Callable[[Tensor], Tensor]:
    return torch.no_grad()(model.forward)


def _seconds(act: Callable[[Tensor], Any], batch: Tensor) -> float:
    began = time.perf_counter()
    act(batch)
    return time.perf_counter() - began
