"""A wide network that must learn its digits again: how many steps it takes to a given loss.

Three layers, 1,024 units wide, taught scikit-learn's digits; then the pixels of every image change places, by one fixed
permutation, and only what LoRA adds to the middle layer may move.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from acclimate.bench.digits import digits
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import Run, finetune, fit, predict
from acclimate.losses import CrossEntropy
from acclimate.methods import Full, LoRA
from acclimate.rules import Gradient, Rule

__all__ = ["TARGET", "each_parameter_once", "rearranged", "same_as_plain", "steps_by_rate", "unadapted_loss", "wide"]

WIDTH = 1024
ROWS = 256
STEPS = 100
"""One batch of so many images a step, and no more steps than this."""
TARGET = 0.1
"""The loss to be reached, in nats."""
MIDDLE = "2.weight"


@functools.cache
def _pretrained() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 10))
    images, labels = digits("train")
    adapter = attach(model, Full(), at="all")
    data = Batches(images.flatten(1), labels, 64)
    fit(model, data, CrossEntropy(), finetune(epochs=3), Gradient(lr=1e-3), progress=False)
    adapter.merge(keep=False)
    return model


def wide() -> nn.Module:
    """The network as its first digits left it.

    >>> from acclimate.loops import evaluate
    >>> images, labels = digits("test")
    >>> evaluate(wide(), (images.flatten(1), labels)).accuracy > 0.8
    True
    """
    return copy.deepcopy(_pretrained())


@functools.cache
def rearranged() -> tuple[Tensor, Tensor]:
    """Images (rows, 64) whose pixels changed places, and labels (rows,)."""
    images, labels = digits("train")
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    return images.flatten(1)[:ROWS, order], labels[:ROWS]


@functools.cache
def unadapted_loss() -> float:
    """What the network loses on them as it is, in nats."""
    images, labels = rearranged()
    return float(nn.functional.cross_entropy(predict(_pretrained(), (images,)), labels))


@functools.cache
def _steps(ratio: float, lr: float, seed: int) -> int:
    return _taught(_rule(lr, {"up": ratio}), seed)[0]


def steps_by_rate(ratio: float, rates: Sequence[float], seed: int) -> list[int]:
    """Steps until the loss on all the images is below TARGET, for each learning rate; STEPS + 1 if it never is.

    The up-projection learns ``ratio`` times as fast as that.
    """
    return [_steps(ratio, rate, seed) for rate in rates]


def same_as_plain(seed: int) -> bool:
    """Whether a ratio of one teaches the same bits as no ratio at all."""
    ends = [_taught(rule, seed, 20)[1].tensors() for rule in (_rule(1e-3, {"up": 1.0}), _rule(1e-3, {}))]
    return all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def each_parameter_once(ratio: float, seed: int) -> bool:
    """Whether the rule's groups hold every parameter exactly once, the up-projection at ``ratio`` times the rate."""
    named = [(name, p, LoRA.learning_rate) for name, p in attach(wide(), LoRA(), MIDDLE, seed=seed).named_parameters()]
    state = Gradient(rates={"up": ratio}).begin(named, STEPS)
    groups = zip(state.rates, state.optimiser.param_groups, strict=True)
    found = [(id(p), rate) for rate, group in groups for p in group["params"]]
    wanted = [(id(p), rate * (ratio if name.endswith("up") else 1.0)) for name, p, rate in named]
    return sorted(found) == sorted(wanted) and len({rate for _, rate in found}) == (1 if ratio == 1 else 2)


def _rule(lr: float, rates: dict[str, float]) -> Gradient:
    return Gradient(lr=lr, rates=rates, schedule="constant", warmup=0, clip=None)


def _taught(rule: Rule, seed: int, steps: int = STEPS) -> tuple[int, Adapter]:
    model = wide()
    adapter = attach(model, LoRA(), at=MIDDLE, seed=seed)

    def enough(run: Run) -> None:
        if run.history[-1][1] < TARGET:
            run.stop()

    run = fit(
        model, Batches(*rearranged(), ROWS), CrossEntropy(), finetune(epochs=steps), rule,
        seed=seed, callbacks=[enough], check=False, progress=False,
    )  # fmt: skip
    return run.step if run.stopping else STEPS + 1, adapter
