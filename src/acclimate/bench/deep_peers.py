"""The same deep methods as skada and pytorch-adapt have them, where they are installed, and ours at equal settings."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.domain_tasks import DomainTask
from acclimate.data import Batches
from acclimate.engine import attach
from acclimate.loops import domain_pair, evaluate, finetune, fit
from acclimate.losses import CORAL, MMD, ClassConfusion, CrossEntropy, Loss, NuclearNorm, OnTarget
from acclimate.methods import Full
from acclimate.rules import Gradient

__all__ = ["AT_EQUAL_SETTINGS", "LIBRARIES", "OURS", "beside_peers", "taught_by"]

Rows = tuple[Tensor, Tensor]
LR, BATCH = 1e-3, 64

AT_EQUAL_SETTINGS = (
    "accuracy in percent on the whole target at the end, mean over the seeds, and processor seconds of teaching, the median, one "
    "library after the other in each seed. One network and the same settings for all: Adam at 1e-3 without a schedule, batches of "
    "64 rows a domain in float32, each method's own default weight. A library that is not installed has no column"
)

OURS: Mapping[str, Loss | None] = {
    "source only": None,
    "CORAL": CORAL(),
    "MMD": MMD(),
    "MCC": OnTarget(ClassConfusion()),
    "BNM": OnTarget(NuclearNorm()),
}
SKADA = {"source only": "SourceOnly", "CORAL": "DeepCoral", "MMD": "DAN", "MCC": "MCC"}


def beside_peers(task: DomainTask, seeds: Sequence[int], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each method: accuracy and processor seconds of each library, taken by turns."""
    rows = []
    for name in OURS:
        found: dict[str, list[tuple[float, float]]] = {library: [] for library in LIBRARIES}
        for seed in seeds:
            for library, runs in found.items():
                model = task.make(seed)
                began = time.process_time()
                if taught_by(library, name, model, task.source, task.target[0], task.epochs, seed):
                    runs.append((time.process_time() - began, 100 * (evaluate(model, task.target).accuracy or 0.0)))
                    say(f"{task.name}, {name}, {library}, seed {seed}: {runs[-1][1]:.1f} % in {runs[-1][0]:.1f} s")
        row: dict[str, Any] = {"method": name}
        for library, runs in found.items():
            row |= {
                library: round(mean(right for _, right in runs), 1) if runs else None,
                f"seconds {library}": round(median(seconds for seconds, _ in runs), 1) if runs else None,
            }
        rows.append(row)
    return rows


def taught_by(library: str, name: str, model: nn.Module, source: Rows, target: Tensor, epochs: int, seed: int) -> bool:
    """Teach ``model`` in place, whose last two layers are ``hidden`` and ``classifier``. False: the library has no such method."""
    return LIBRARIES[library](name, model, source, target, epochs, seed)


def _ours(name: str, model: nn.Module, source: Rows, target: Tensor, epochs: int, seed: int) -> bool:
    attach(model, {Full(): "all"}, seed=seed)
    rows, others = Batches(*source, size=BATCH, seed=seed), Batches(target, size=BATCH, seed=seed)
    extra = OURS[name]
    loss = CrossEntropy() if extra is None else CrossEntropy() + extra
    loop = finetune(epochs=epochs) if extra is None else domain_pair(epochs=epochs)
    data = {"train": rows} if extra is None else {"source": rows, "target": others}
    rule = Gradient(lr=LR, optimiser="adam", schedule="constant", warmup=0.0, clip=None)
    fit(model, data, loss, loop, rule, seed=seed, progress=False)
    return True


def _skada(name: str, model: nn.Module, source: Rows, target: Tensor, epochs: int, seed: int) -> bool:
    if name not in SKADA:
        return False
    from sklearn import config_context

    with config_context(enable_metadata_routing=True):  # importing skada would switch it on for the whole process
        import skada.deep

        torch.manual_seed(seed)
        made = getattr(skada.deep, SKADA[name])(
            model, layer_name="hidden", batch_size=BATCH, max_epochs=epochs, optimizer=torch.optim.Adam, lr=LR,
            train_split=None, verbose=0, callbacks__print_log=None,
        )  # fmt: skip
        inputs = torch.cat([source[0], target]).numpy()
        labels = torch.cat([source[1], torch.full((len(target),), -1)]).numpy()
        sides = torch.tensor([1] * len(source[1]) + [-2] * len(target)).numpy()
        made.fit(inputs, labels, sample_domain=sides)
        model.load_state_dict(_inner(made))
    return True


def _inner(made: Any) -> dict[str, Tensor]:
    """The taught network of a fitted estimator, which works on a copy."""
    net = next(iter(made.named_steps.values())) if hasattr(made, "named_steps") else made
    while not hasattr(net, "module_"):
        net = next(each for each in reversed(list(made.named_steps.values())) if hasattr(each, "module_"))
    found: nn.Module = net.module_.base_module_
    return found.state_dict()


def _pytorch_adapt(name: str, model: nn.Module, source: Rows, target: Tensor, epochs: int, seed: int) -> bool:
    from pytorch_adapt import hooks, layers

    features, classes = _Features(model), model.classifier
    optimiser = torch.optim.Adam(model.parameters(), lr=LR)
    extras: dict[str, Callable[[], Any]] = {
        "CORAL": lambda: hooks.ClassifierHook([optimiser], post=[hooks.AlignerHook(layers.CORALLoss())]),
        "MMD": lambda: hooks.ClassifierHook([optimiser], post=[hooks.AlignerHook(layers.MMDLoss())]),
        "MCC": lambda: hooks.ClassifierHook([optimiser], post=[hooks.MCCHook()]),
        "BNM": lambda: hooks.ClassifierHook([optimiser], post=[hooks.BNMHook()]),
        "source only": lambda: hooks.ClassifierHook([optimiser]),
    }
    hook = extras[name]()
    draw = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        orders = zip(_order(len(source[1]), draw), _order(len(target), draw), strict=False)
        for one, other in orders:
            rows = {"src_imgs": source[0][one], "src_labels": source[1][one], "target_imgs": target[other]}
            sides = {"src_domain": torch.zeros(len(one)), "target_domain": torch.ones(len(other))}
            hook({"G": features, "C": classes, **rows, **sides})
    return True


def _order(count: int, draw: torch.Generator) -> tuple[Tensor, ...]:
    return torch.split(torch.randperm(count, generator=draw), BATCH)


class _Features(nn.Module):
    """What a network gives its classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.heard: list[Tensor] = []
        last = model.get_submodule("classifier")
        last.register_forward_pre_hook(lambda module, inputs: self.heard.append(inputs[0]))

    def forward(self, x: Tensor) -> Tensor:
        self.model(x)
        found = self.heard[-1]
        self.heard.clear()
        return found


def _libraries() -> dict[str, Callable[..., bool]]:
    found: dict[str, Callable[..., bool]] = {"acclimate": _ours}
    if importlib.util.find_spec("skada") and importlib.util.find_spec("skorch"):
        found["skada"] = _skada
    if importlib.util.find_spec("pytorch_adapt"):
        found["pytorch-adapt"] = _pytorch_adapt
    return found


LIBRARIES = _libraries()
"""Those that can be measured here."""
