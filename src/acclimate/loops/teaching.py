"""Everything of one run that is not its result: what is trained, what is looked at, and how it is taken up again."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.data import Batch
from acclimate.engine import Adapter, adapters
from acclimate.engine.batch import move, run_batch
from acclimate.engine.precision import forward_precision
from acclimate.loops.checkpoint import read_checkpoint, write_checkpoint
from acclimate.loops.evaluate import check_labels, evaluating, logits_of
from acclimate.loops.loop import Feed, Loop, LoopError, one_seen
from acclimate.loops.progress import bar
from acclimate.loops.taps import Taps, tapped
from acclimate.loops.teach import refuse_idle, training
from acclimate.losses import Loss, Seen
from acclimate.players import Player, PlayerState
from acclimate.rules import NonFinite, Rule, RuleState

__all__ = ["Run", "Teaching"]


@dataclass
class Run:
    """What a run did: one entry of ``history`` a step, (step, loss); ``finished`` is False after a stop."""

    model: nn.Module
    adapters: list[Adapter]
    steps: int
    step: int = 0
    history: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    finished: bool = False
    stopping: bool = False

    def stop(self) -> None:
        """To be called from a callback: end after this step."""
        self.stopping = True

    @property
    def loss(self) -> float:
        """The mean loss over the last tenth of the steps."""
        last = [value for _, value in self.history[-max(1, len(self.history) // 10) :]]
        return sum(last) / max(1, len(last))


class Teaching:
    """Everything of one run that is not its result."""

    def __init__(
        self,
        model: nn.Module,
        loop: Loop,
        loss: Loss,
        rule: Rule,
        players: Sequence[Player],
        seed: int,
        precision: str | None,
        stack: ExitStack,
        feed: Feed,
    ) -> None:
        self.model, self.loop, self.loss, self.rule, self.seed, self.feed = model, loop, loss, rule, seed, feed
        self.adapters = [adapter for adapter in adapters(model).values() if adapter.enabled and not adapter.merged]
        if not self.adapters:
            raise LoopError("there is nothing to train: attach an adapter to the model, or enable one")
        self.described = players
        self.named = [(f"{a.name}/{n}", p, rate) for a in self.adapters for n, p, rate in a.rated()]
        self.modules: list[nn.Module] = [module for adapter in self.adapters for _, module in adapter.modules()]
        if not self.named:
            raise LoopError("the enabled adapters have no parameters, so there is nothing to train")
        _refuse(loop, loss, players)
        places = sorted(w.partition(":")[2] for w in loss.wants() if w.startswith("features:"))
        places = sorted({*places, *(place for each in players for place in each.taps)})
        from accelerate import PartialState

        self.world = PartialState()
        self.device = next((p.device for p in model.parameters() if not p.is_meta), torch.device("cpu"))
        self.precision = forward_precision(precision, self.device)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.manual_seed(seed)
        stack.enter_context(training(model))
        self.taps: Taps = stack.enter_context(tapped(model, places))
        self.networks: dict[str, nn.Module] = {}
        self.players: list[PlayerState] = []
        self.state: RuleState
        self.callable = _parallel(model, self.world)

    def look(self, batch: Batch) -> Seen:
        """Run the model on one batch."""
        inputs = move(batch.inputs, self.device)
        autocast = torch.autocast(self.device.type, self.precision) if self.precision else nullcontext()
        with autocast:
            output = run_batch(self.callable, inputs)
        logits = logits_of(output)
        logits = logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits
        labels = batch.labels
        if labels is not None and not labels.is_floating_point():
            check_labels(labels, logits)
        labels = None if labels is None else labels.to(self.device)
        return Seen(inputs, output, logits, labels, self.taps.take(), index=batch.index)

    def see(self, batches: tuple[Batch, ...], progress: float) -> Seen:
        seen = self.loop.see(self.look, batches)
        seen.progress, seen.players, seen.start, seen.modules = progress, self.networks, self.start, self.modules
        for player in self.players:
            player.look(seen)
        return seen

    def value(self, batches: tuple[Batch, ...], progress: float) -> Tensor:
        return self.loss(self.see(batches, progress))

    def everything(self) -> Seen:
        """The whole of what is taught on, in evaluation mode, as one: for players that survey it."""
        parts = []
        with evaluating(self.model):
            for batch in self.feed[self.loop.data[-1]]:
                seen = self.look(batch)
                seen.labels = None
                parts.append(seen)
        return one_seen(parts)

    def prepare(self, run: Run, check: bool) -> None:
        """Make what depends on the first batch, and refuse what cannot teach."""
        random = torch.get_rng_state()
        first = next(iter(self.loop.steps(self.feed, 0)), None)
        if first is None:
            raise LoopError("the data is empty: there is nothing to teach on")
        self.start: list[tuple[Tensor, Tensor]] = [(p, p.detach().clone()) for _, p, _ in self.named]
        plain = [(name, parameter) for name, parameter, _ in self.named]
        self.players = [player.begin(self.model, plain) for player in self.described]
        with torch.no_grad(), evaluating(self.model):
            seen = self.loop.see(self.look, first)
        torch.manual_seed(self.seed)
        self.networks = {name: network.to(self.device) for name, network in self.loss.players(seen).items()}
        for player in self.players:
            player.survey(self.everything)
        if check:
            for adapter in self.adapters:
                adapter.check(move(first[0].inputs, self.device))
            refuse_idle(self.loss, lambda: self.see(first, 0.5), [p for _, p, _ in self.named], self.networks)
        for player in self.players:
            player.reset()
        rate = max(rate for _, _, rate in self.named)
        learned = [
            (f"{name}.{inner}", parameter, rate)
            for name, network in self.networks.items()
            for inner, parameter in network.named_parameters()
        ]
        self.state = self.rule.begin([*self.named, *learned], run.steps, self.seed)
        torch.set_rng_state(random)

    def go(
        self,
        run: Run,
        folder: Path | None,
        every: int | None,
        callbacks: Sequence[Callable[[Run], None]],
        progress: bool | None,
    ) -> None:
        length = self.loop.length(self.feed)
        began = time.perf_counter()
        entered = self.resume(run, folder)
        with bar(run.steps, run.step, progress if self.world.is_main_process else False) as tell:
            try:
                for epoch in range(run.step // length, self.loop.epochs):
                    self.epoch(run, epoch, length, entered, folder, every, callbacks, tell)
                    entered = None
                    if run.stopping:
                        break
            except NonFinite as error:
                self.keep(run, folder, torch.get_rng_state())
                kept = f"; what was learned before is in the adapter{f' and in {folder}' if folder else ''}"
                raise NonFinite(error.step, f"the run stopped at step {run.step}: {error}{kept}") from error
            except KeyboardInterrupt:
                self.keep(run, folder, self.entry)
                raise
        run.seconds = time.perf_counter() - began
        run.finished = run.step >= run.steps
        self.keep(run, folder, self.entry)

    def epoch(
        self,
        run: Run,
        epoch: int,
        length: int,
        entered: tuple[Tensor, Tensor] | None,
        folder: Path | None,
        every: int | None,
        callbacks: Sequence[Callable[[Run], None]],
        tell: Callable[[float], None],
    ) -> None:
        skip = run.step - epoch * length
        if entered is not None:
            torch.set_rng_state(entered[0])
        self.entry = torch.get_rng_state()
        for player in self.players:
            if entered is None or skip == 0:
                player.survey(self.everything)
        for number, batches in enumerate(self.loop.steps(self.feed, epoch)):
            if number < skip:
                continue
            if entered is not None:
                torch.set_rng_state(entered[1])
                entered = None
            done = run.step / max(1, run.steps)
            value = self.state.step(functools.partial(self.value, batches, done))
            for player in self.players:
                player.learn()
            run.step += 1
            run.history.append((run.step, value))
            tell(value)
            for callback in callbacks:
                callback(run)
            if run.stopping:
                return
            if folder is not None and every is not None and run.step % every == 0:
                self.keep(run, folder, self.entry)
        if folder is not None and every is None:
            self.keep(run, folder, torch.get_rng_state())

    def identity(self) -> str:
        """What two runs must share for one to continue the other."""
        shape = {
            "loop": self.loop.describe(),
            "loss": repr(self.loss),
            "rule": self.rule.describe(),
            "players": [repr(player) for player in self.described],
            "seed": self.seed,
            "trained": [(name, list(parameter.shape)) for name, parameter, _ in self.named],
            "steps": self.loop.length(self.feed),
        }
        return hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        found = {f"adapter/{a.name}/{n}": t for a in self.adapters for n, t in a.tensors().items()}
        found |= {f"rule/{n}": t for n, t in self.state.tensors().items()}
        for number, player in enumerate(self.players):
            found |= {f"player/{number}/{n}": t for n, t in player.tensors().items()}
        for name, network in self.networks.items():
            found |= {f"network/{name}/{n}": t for n, t in network.state_dict().items()}
        return found

    def keep(self, run: Run, folder: Path | None, entry: Tensor) -> None:
        if folder is not None and self.world.is_main_process:
            position = {"identity": self.identity(), "step": run.step, "history": run.history}
            write_checkpoint(folder, {**self.tensors(), "epoch_random": entry}, position)

    def resume(self, run: Run, folder: Path | None) -> tuple[Tensor, Tensor] | None:
        """Take up a checkpoint: where its epoch began, and where it stood."""
        self.entry = torch.get_rng_state()
        found = None if folder is None else read_checkpoint(folder)
        if found is None:
            return None
        tensors, position = found
        if position["identity"] != self.identity():
            raise LoopError(
                f"the checkpoint in {folder} is of another run (other data length, loss, loop, rule, seed or adapter): "
                "give another folder, or delete it"
            )
        with torch.no_grad():
            for adapter in self.adapters:
                for name, tensor in adapter.tensors().items():
                    tensor.copy_(tensors[f"adapter/{adapter.name}/{name}"])
        self.state.restore(_under(tensors, "rule/"))
        for number, player in enumerate(self.players):
            player.restore(_under(tensors, f"player/{number}/"))
        for name, network in self.networks.items():
            network.load_state_dict(_under(tensors, f"network/{name}/"))
        run.step = position["step"]
        run.history = [(int(step), float(value)) for step, value in position["history"]]
        return tensors["epoch_random"], tensors["random"]


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _refuse(loop: Loop, loss: Loss, players: Sequence[Player]) -> None:
    given = {*loop.gives, "start", "modules", "features", *(field for player in players for field in player.gives)}
    for want in sorted(loss.wants()):
        if want.partition(":")[0] not in given:
            raise LoopError(
                f"{loss} needs {want!r}, which {type(loop).__name__} does not give (it gives "
                f"{', '.join(sorted(given))}): use a loop or a player that does"
            )


def _parallel(model: nn.Module, world: Any) -> nn.Module:
    if world.num_processes == 1:
        return model
    devices = [world.device] if world.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=devices)
