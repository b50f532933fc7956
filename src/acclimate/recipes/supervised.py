"""What the recipes of fine-tuning have in common: labelled data, cross-entropy, and a new head where one is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from acclimate.bench import docstring_task as task
from acclimate.engine import Method
from acclimate.loops import finetune
from acclimate.losses import CrossEntropy
from acclimate.methods import Full, Head
from acclimate.recipes.recipe import Recipe, Sentence
from acclimate.rules import Gradient, Rule
from acclimate.sites import At

__all__ = ["accuracies", "beside", "for_docstrings", "full", "supervised"]


def supervised(method: Mapping[Method, At], classes: int | None, epochs: int, rule: Rule) -> Sentence:
    """The sentence of fine-tuning. ``classes`` puts a new head on the model; with None its own head answers.

    >>> list(supervised({}, 4, 1, Gradient()).method)
    [Head(classes=4)]
    """
    head: dict[Method, At] = {} if classes is None else {Head(classes=classes): ""}
    return Sentence({**method, **head}, CrossEntropy(), finetune(epochs=epochs), rule)


def for_docstrings(made: Recipe, **settings: Any) -> Sentence:
    """The recipe's sentence with a head for the docstring task."""
    sentence = made.using(classes=task.classes(), **settings).sentence
    assert isinstance(sentence, Sentence)
    return sentence


def accuracies(made: Sentence, seeds: Sequence[int], during: task.During | None = None) -> list[task.Taught]:
    """The docstring task by this sentence; a sentence of nothing but a head is taught on the frozen embeddings."""
    if any(not isinstance(method, Head) for method in made.method):
        return [task.taught(made.method, made.loss, made.loop, made.rule, seed, during) for seed in seeds]
    return [task.head_only(made.loss, made.loop, made.rule, seed) for seed in seeds]


def beside(epochs: int, seeds: Sequence[int], **runs: Sequence[task.Taught]) -> tuple[dict[str, Any], dict[str, float]]:
    """What a claim on the docstring task reports, and the mean accuracy of everything in it, in percent.

    The unadapted encoder (nearest class mean of its embeddings) and a head alone stand beside every run.
    """
    head = accuracies(supervised({}, task.classes(), epochs, Gradient()), seeds)
    everything: dict[str, Sequence[task.Taught]] = {"head_only": head, **runs}
    means = {name: mean(run.accuracy for run in found) for name, found in everything.items()}
    measured: dict[str, Any] = {"unadapted_nearest_mean": round(task.nearest_mean(), 1)}
    for name, found in everything.items():
        measured[name] = [round(run.accuracy, 1) for run in found]
        measured[f"{name}_parameters_percent"] = round(task.share(found[0].parameters), 2)
    return measured, {"unadapted": task.nearest_mean(), **means}


def full(epochs: int, seeds: Sequence[int]) -> list[task.Taught]:
    """Every weight of the encoder's blocks, and a head: what the others are measured against."""
    return accuracies(supervised({Full(): "encoder.*"}, task.classes(), epochs, Gradient()), seeds)
