"""A stream on disk, to be continued as if nothing had happened.

One safetensors file, written beside and renamed: what was learned, the players, both states to go back to, the guard's memory,
the window, the rows that labels may still come for, the random state and the events. Continued, a stream gives the same bits as
one that was never stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from acclimate.data.streams import mark
from acclimate.loops.checkpoint import NAME, read_checkpoint, write_checkpoint
from acclimate.loops.learner import Snapshot
from acclimate.loops.loop import LoopError
from acclimate.loops.recall import Answered
from acclimate.loops.signs import Spread
from acclimate.loops.stream import Event, Stream

__all__ = ["keep_stream", "resume_stream"]

_SPREADS = ("adapted", "frozen", "entry", "each")
_NUMBERS = (
    "trusted",
    "strikes",
    "told",
    "need",
    "calm",
    "since",
    "usual",
    "diverse",
    "gain",
    "mixed",
    "failed",
    "rest",
)


def keep_stream(live: Stream, folder: str | Path) -> Path:
    """Write where a stream stands into ``folder``; the path of the file."""
    tensors: dict[str, Tensor] = {}
    learner, watch = live.learner, live.watch
    state = {
        "is": _is(live),
        "step": live.step,
        "given": live.recall.given,
        "numbers": [live._fresh, live._for, live._against, learner.turns, learner.over],
        "snapshots": {
            name: _packed({"updates": each.updates, "tensors": each.tensors}, f"snapshot/{name}", tensors)
            for name, each in {"now": learner.snapshot(), "good": live._good, "next": live._next}.items()
        },
        "same": live._good is live._next,
        "draws": _packed(live._draws.states, "draws", tensors),
        "window": _packed(live.window.inputs, "window", tensors),
        "recall": [_packed(vars(each), f"recall/{n}", tensors) for n, each in enumerate(live.recall.held)],
        "events": [asdict(event) for event in live.events],
        "signs": live.signs,
        "watch": None if watch is None else {name: getattr(watch, name) for name in _NUMBERS},
        "spreads": {
            name: _packed(vars(each), f"spread/{name}", tensors)
            for name in _SPREADS
            if (each := getattr(watch, name, None)) is not None
        },
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    return write_checkpoint(Path(folder), tensors, state)


def resume_stream(live: Stream, folder: str | Path) -> int:
    """Continue where `keep_stream` left off; how many rows were answered before. 0 where the folder holds nothing."""
    found = read_checkpoint(Path(folder))
    if found is None:
        return 0
    tensors, state = found
    tensors = {name: tensor.to(live.device) if name != "random" else tensor for name, tensor in tensors.items()}
    if state.get("is") != _is(live):
        there = state.get("is") or {}
        other = [name for name, value in _is(live).items() if there.get(name) != value]
        raise LoopError(
            f"{Path(folder) / NAME} is of another stream ({', '.join(other)} differ): continue with what it was made with, or give "
            "another folder"
        )
    live.reset()
    snapshots = {name: Snapshot(**_unpacked(each, tensors)) for name, each in state["snapshots"].items()}
    learner, watch = live.learner, live.watch
    with live._as("adapted"):
        learner.restore(snapshots["now"])
    live._good, live._next = snapshots["good"], snapshots["good"] if state["same"] else snapshots["next"]
    live._fresh, live._for, live._against, learner.turns, learner.over = state["numbers"]
    live.step, live.signs = state["step"], state["signs"]
    live._draws.states = [each.cpu() for each in _unpacked(state["draws"], tensors)]
    live.window.inputs = _unpacked(state["window"], tensors)
    live.recall.held = deque(Answered(**_unpacked(each, tensors)) for each in state["recall"])
    live.recall.given = state["given"]
    live._events.extend(Event(**event) for event in state["events"])
    if watch is not None:
        for name in _NUMBERS:
            setattr(watch, name, state["watch"][name])
        for name in _SPREADS:
            each = state["spreads"].get(name)
            setattr(watch, name, None if each is None else Spread(**_unpacked(each, tensors)))
    return live.recall.given


def _is(live: Stream) -> dict[str, Any]:
    """What has to be the same for a stream to go on."""
    return {
        "model": mark(live.model),
        "adaptation": repr(live.row),
        "guard": repr(live.guard),
        "window": live.window.size,
        "seed": live.seed,
    }


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A structure as JSON, its tensors put beside by name."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": {str(key): _packed(each, f"{name}/{key}", tensors) for key, each in value.items()}}
    if isinstance(value, tuple | list):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_packed(each, f"{name}/{n}", tensors) for n, each in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise LoopError(
        f"a stream's inputs hold a {type(value).__name__}, which no file keeps: give tensors, tuples and mappings"
    )


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner].clone()
    if kind == "map":
        return {name: _unpacked(each, tensors) for name, each in inner.items()}
    made = [_unpacked(each, tensors) for each in inner]
    return tuple(made) if kind == "tuple" else made
