"""Several tasks on one frozen network: parts that all have, parts of their own, and parts that a network makes for each.

The model is called with the task of each row beside its inputs (`acclimate.methods.Given`).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from acclimate.bench.experts import WHOLE, given
from acclimate.bench.kindred import KINDS, NEW, TASKS, Kindred, kindred
from acclimate.bench.relearn import network
from acclimate.compose import Generated, Parallel, Retriever, Told, compose, learn_retriever, new_task
from acclimate.data import Batches
from acclimate.engine import Adapter, attach
from acclimate.loops import finetune, fit, predict
from acclimate.losses import CrossEntropy
from acclimate.methods import Bottleneck, LoRA
from acclimate.methods.given import Given
from acclimate.recipes.recipe import Finding, Together, Tree, written
from acclimate.rules import Gradient
from acclimate.sites import At

__all__ = ["hyperformer", "mtlora", "pha"]

ROUTINE = Gradient(lr=2e-2)


@written(papers=["MTLoRA: A Low-Rank Adaptation Approach for Efficient Multi-Task Learning"], needs=["train"])
def mtlora(tasks: int = 2, rank: int = 4, own: int = 4, at: At = "all", last: At = "all", epochs: int = 10) -> Together:
    """Low-rank updates that all tasks have, and at the ``last`` layers one for each task (Agiza et al., 2024)."""
    return Together(
        _shared_and_own(tasks, rank, own, at, last), CrossEntropy(), finetune(epochs=epochs), Gradient(lr=3e-3)
    )


def _shared_and_own(tasks: int, rank: int, own: int, at: At, last: At) -> Tree:
    return Tree(Parallel, fresh=[{LoRA(rank=rank): at}, Told(*({LoRA(rank=own): last} for _ in range(tasks)))])


_INSIDE = tuple(f"model.{layer}.weight" for layer in (0, 2, 4, 6))
LABELLED: tuple[tuple[int, ...], ...] = (tuple(range(10)), (3, 7, 1, 9, 5, 0, 2, 8, 6, 4))
"""What each of two tasks calls the digits: they ask different things of the same images."""


@mtlora.claim
def _one_pass_for_conflicting_tasks(seeds: Sequence[int], on: bool) -> Finding:
    late = ("model.6.weight", "model.8.weight")
    early = _INSIDE
    rows: dict[str, list[float]] = {"unadapted": [], "shared_alone": [], "shared_and_own": []}
    counts: dict[str, int] = {}
    identity = True
    for seed in seeds:
        model = Given(network(), "task")
        before = predict(model, _asked("test"))
        rows["unadapted"].append(_right(before))
        ways = {
            "shared_alone": Tree(Parallel, fresh=[{LoRA(rank=8): (*early, late[1])}]),
            "shared_and_own": _shared_and_own(2, 4, 4, early, late),
        }
        for name, way in ways.items():
            here = Given(network(), "task")
            adapter = (way if on else ways["shared_alone"])(here, [], name, seed)
            identity = identity and torch.equal(predict(here, _asked("test")), before)
            counts[name] = sum(p.numel() for p in adapter.parameters())
            inputs, labels = _asked("train"), _answers("train")
            data = Batches(inputs, labels, 256, seed=seed)
            fit(
                here,
                data,
                CrossEntropy(),
                finetune(epochs=12),
                Gradient(lr=3e-3),
                seed=seed,
                check=False,
                progress=False,
            )
            rows[name].append(_right(predict(here, _asked("test"))))
    return Finding(
        {**{name: [round(v, 1) for v in found] for name, found in rows.items()}, "parameters": counts},
        "two tasks that call the same digits by different names, all rows of both in one forward: untaught the "
        "network's own answers, to the bit; taught, 25 points above shared updates alone of at least as many parameters, in "
        "each seed",
        identity
        and counts["shared_and_own"] <= counts["shared_alone"]
        and all(a >= b + 25 for a, b in zip(rows["shared_and_own"], rows["shared_alone"], strict=True)),
        "that layers before the own ones run once for all tasks is not built: each task has its own rows in the batch",
    )


def _asked(part: Any) -> dict[str, Tensor]:
    """Each image once for each task."""
    images, _ = given("clean", part)
    return {"input": images.repeat(2, 1), "task": torch.arange(2).repeat_interleave(len(images))}


def _answers(part: Any) -> Tensor:
    _, labels = given("clean", part)
    return torch.cat([torch.tensor(names)[labels] for names in LABELLED])


def _right(logits: Tensor) -> float:
    return 100 * float((logits.argmax(1) == _answers("test")).double().mean())


@written(
    papers=["Parameter-efficient Multi-task Fine-tuning for Transformers via Shared Hypernetworks"], needs=["train"]
)
def hyperformer(
    tasks: int = 2, width: int = 16, embedding: int = 8, hidden: int = 16, at: At = ("o", "down"), epochs: int = 10
) -> Together:
    """Bottlenecks whose parameters one network makes for each task and layer (Mahabadi et al., 2021)."""
    join = Tree(Generated, {"tasks": tasks, "embedding": embedding, "hidden": hidden}, [{Bottleneck(width=width): at}])
    return Together(join, CrossEntropy(), finetune(epochs=epochs), Gradient())


@hyperformer.claim
def _a_task_is_an_embedding(seeds: Sequence[int], on: bool) -> Finding:
    digits: dict[str, list[float]] = {"unadapted": [], "generated": []}
    new: dict[str, list[float]] = {"new_by_embedding": [], "new_by_its_own_adapter": []}
    counts: dict[str, int] = {}
    apart = True
    for seed in seeds:
        digits["unadapted"].append(_digits(None, seed)[0])
        right, adapter = _digits(3 if on else 1, seed)
        digits["generated"].append(right)
        assert adapter is not None
        apart = apart and _apart(adapter)
        tasks = kindred(seed)
        model, held = _known(tasks)
        found = []
        for kind in range(KINDS):
            found.append(_few(tasks, model, held, kind, _best(tasks, model, kind) if on else None, counts))
        new["new_by_embedding"].append(mean(found))
        new["new_by_its_own_adapter"].append(mean(_scratch(tasks, kind, counts) for kind in range(KINDS)))
    return Finding(
        {
            **{name: [round(v, 1) for v in found] for name, found in digits.items()},
            **{name: [round(v, 3) for v in found] for name, found in new.items()},
            "a_new_task_trains": counts,
            "differs_by_task_and_layer": apart,
        },
        "adapters at four layers for three rearrangements of the digits at once: no two tasks, and no two layers, get the same, "
        "and they are 50 points above the unadapted network; planted tasks, four rows of each new one: its embedding alone, 8 "
        "numbers, started where a known task's adapter answers the rows best, leaves at most 0.3 of the error that a low-rank "
        "adapter of its own leaves, in each seed",
        apart
        and all(a >= b + 50 for a, b in zip(digits["generated"], digits["unadapted"], strict=True))
        and all(a <= 0.3 * b for a, b in zip(*new.values(), strict=True))
        and counts["embedding"] == 8,
    )


def _best(tasks: Kindred, model: Given, kind: int) -> int:
    """The known task whose adapter answers the four rows best."""
    rows = tasks.new(kind)
    return min(range(TASKS), key=lambda task: tasks.missing(model, *rows, task=task))


def _digits(tasks: int | None, seed: int) -> tuple[float, Adapter | None]:
    """Accuracy over three rearrangements, each row with its task said; with one task, all rows are of it."""
    model = Given(network(), "task")
    adapter = None

    def rows(part: Any) -> tuple[dict[str, Tensor], Tensor]:
        found = [given(task, part) for task in WHOLE]
        number = torch.cat([torch.full((len(y),), i if tasks == 3 else 0) for i, (_, y) in enumerate(found)])
        return {"input": torch.cat([x for x, _ in found]), "task": number}, torch.cat([y for _, y in found])

    if tasks is not None:
        tree = Generated({LoRA(rank=8): _INSIDE}, tasks=tasks, hidden=16)
        adapter = compose(model, tree, seed=seed)
        data = Batches(*rows("train"), 256, seed=seed)
        fit(model, data, CrossEntropy(), finetune(epochs=12), Gradient(lr=5e-3), seed=seed, check=False, progress=False)
    inputs, labels = rows("test")
    return 100 * float((predict(model, inputs).argmax(1) == labels).double().mean()), adapter


@torch.no_grad()
def _apart(adapter: Adapter) -> bool:
    """Whether what is made differs between any two tasks and any two layers."""
    codes = [module.code(task) for _, module in adapter.modules() for task in module.task]  # type: ignore[operator, union-attr]
    return len(codes) > 4 and all(
        not torch.allclose(a, b, atol=1e-3) for i, a in enumerate(codes) for b in codes[i + 1 :]
    )


def _known(tasks: Kindred) -> tuple[Given, Adapter]:
    model = tasks.model()
    tree = Generated({LoRA(rank=2): "model.1.weight"}, tasks=TASKS, embedding=8, hidden=8)
    adapter = compose(model, tree, name="known", seed=tasks.seed)
    tasks.teach(model, [(task, *rows) for task, rows in tasks.known().items()], ROUTINE, epochs=60)
    return model, adapter


def _few(tasks: Kindred, model: Given, known: Adapter, kind: int, start: int | None, counts: dict[str, int]) -> float:
    """What is missing of a kind's new task, learned from four rows by its embedding alone."""
    made = new_task(known, start, seed=tasks.seed)
    counts["embedding"] = sum(p.numel() for p in made.parameters())
    tasks.teach(model, [(0, *tasks.new(kind))], Gradient(lr=5e-2), epochs=40)
    found = tasks.missing(model, *tasks.new(kind, 200, draw=1))
    made.detach()
    known.enable()
    return found


def _scratch(tasks: Kindred, kind: int, counts: dict[str, int]) -> float:
    model = tasks.model()
    own = attach(model, LoRA(rank=2), at="model.1.weight", seed=tasks.seed)
    counts["own_adapter"] = sum(p.numel() for p in own.parameters())
    tasks.teach(model, [(0, *tasks.new(kind))], Gradient(lr=1e-2), epochs=80)
    return tasks.missing(model, *tasks.new(kind, 200, draw=1))


@written(papers=["Prototype-based HyperAdapter for Sample-Efficient Multi-task Tuning"], needs=["train"])
def pha(
    tasks: int = 2, rank: int = 8, embedding: int = 8, hidden: int = 16, at: At = ("q", "v"), epochs: int = 10
) -> Together:
    """Adapters generated for tasks, new ones started from the prototype that their rows are nearest to (Zhao et al., 2023)."""
    join = Tree(Generated, {"tasks": tasks, "embedding": embedding, "hidden": hidden}, [{LoRA(rank=rank): at}])
    return Together(join, CrossEntropy(), finetune(epochs=epochs), Gradient())


@pha.claim
def _rows_find_their_like(seeds: Sequence[int], on: bool) -> Finding:
    rows: dict[str, list[float]] = {"known": [], "new_by_retrieval": [], "new_by_its_own_adapter": []}
    counts: dict[str, int] = {}
    right = 0
    for seed in seeds:
        tasks = kindred(seed)
        model, known = _known(tasks)
        rows["known"].append(mean(tasks.missing(model, *d, task=t) for t, d in tasks.known(draw=2).items()))
        seen = learn_retriever(model, {t: _inputs(x) for t, (x, _) in tasks.known().items()}, "model.0", seed=seed)
        started = [_start(seen, model, tasks.new(kind)[0]) for kind in range(KINDS)]
        right += sum(task // (TASKS // KINDS) == kind for kind, task in enumerate(started))
        found = [_few(tasks, model, known, kind, task if on else None, counts) for kind, task in enumerate(started)]
        rows["new_by_retrieval"].append(mean(found))
        rows["new_by_its_own_adapter"].append(mean(_scratch(tasks, kind, counts) for kind in range(KINDS)))
        counts["known_together"] = sum(p.numel() for p in known.parameters())
    counts["known_apart"] = TASKS * counts["own_adapter"]
    return Finding(
        {
            "unadapted": 1.0,
            **{name: [round(v, 3) for v in found] for name, found in rows.items()},
            "kinds_found": f"{right} of {len(seeds) * len(NEW)}",
            "parameters": counts,
        },
        "twenty planted tasks of four kinds in fewer parameters than adapters of their own have; a new task of four rows finds one "
        "of its kind, and its embedding, started there and tuned alone, leaves at most 0.3 of the error of an adapter of its own, "
        "in each seed",
        right == len(seeds) * len(NEW)
        and counts["known_together"] < counts["known_apart"]
        and all(a <= 0.3 * b for a, b in zip(rows["new_by_retrieval"], rows["new_by_its_own_adapter"], strict=True)),
        "prototypes serve as the place to start; that the generated adapter learns better from them than from free embeddings was "
        "not looked for",
    )


def _inputs(x: Tensor) -> dict[str, Tensor]:
    return {"input": x, "task": torch.zeros(len(x), dtype=torch.long)}


def _start(seen: Retriever, model: nn.Module, x: Tensor) -> int:
    return seen.nearest(model, _inputs(x))
