"""Advice: what cannot be used says why, what collapses is not recommended, and the target's labels are never looked at."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

import acclimate as acc
from acclimate.bench import pretrained
from acclimate.bench.shift import domains
from acclimate.choose import Budget, advise, alike
from acclimate.cli.app import app
from acclimate.engine import adapters
from acclimate.loops import finetune, source_free
from acclimate.losses import CrossEntropy, Entropy, InformationMaximisation
from acclimate.recipes import Sentence
from acclimate.recipes.advised import FIRST, candidates
from acclimate.recipes.recipe import RecipeError, recipe


def short(loss: acc.Loss, lr: float = 1e-3) -> Sentence:
    return Sentence({acc.Full(): "all"}, loss, source_free(epochs=3), acc.Gradient(lr=lr))


WAYS = {
    "information": short(InformationMaximisation()),
    "collapsing": short(Entropy(), 3e-2),
    "labelled": Sentence({acc.Full(): "all"}, CrossEntropy(), finetune(), acc.Gradient()),
    "elsewhere": Sentence({acc.LoRA(): "nowhere"}, Entropy(), source_free(), acc.Gradient()),
}


def test_what_is_better_is_recommended_and_what_cannot_run_says_why() -> None:
    pair = domains(0)
    model = pretrained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    advice = advise(model, WAYS, pair.target)
    assert advice.recipe == "information"
    assert advice.expected is None  # nothing of the source is there to tell it by
    assert "train" in advice.refused["labelled"]
    assert "nowhere" in advice.refused["elsewhere"]
    assert set(advice.costs) == {"information", "collapsing"}
    assert not adapters(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    report = advice.selection.report(pair.target)
    assert report.last["information"] > report.unadapted + 0.2


def test_labels_of_the_target_change_nothing() -> None:
    images, labels = domains(0).target
    ways = {"information": WAYS["information"]}
    with_labels, without = (advise(pretrained(), ways, data, moments=1) for data in ((images, 9 - labels), images))
    assert [t.scores for t in with_labels.selection.trials] == [t.scores for t in without.selection.trials]


def test_a_model_that_nothing_helps_is_left_alone() -> None:
    advice = advise(pretrained(), {"collapsing": WAYS["collapsing"]}, domains(0).source[0], moments=1)
    assert advice.recipe is None
    assert "as it came" in advice.reasons[0]
    assert advice.changed == 0


def test_where_nothing_has_changed_nothing_is_tried() -> None:
    """A target of the source's kind is none to adapt to; one that differs is."""
    pair, tried = domains(0), []
    images, labels = pair.source
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    halves = (images[order[::2]], labels[order[::2]]), images[order[1::2]]
    ways = {"information": WAYS["information"]}
    same = advise(pretrained(), ways, halves[1], halves[0], moments=1, progress=tried.append)
    assert same.recipe is None and not tried
    assert "cannot be told from the source" in same.reasons[0]
    other = advise(pretrained(), ways, pair.target, pair.source, moments=1, progress=tried.append)
    assert tried and other.recipe == "information"


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_rows_of_one_distribution_seem_so_as_often_as_they_are_said_to(moved: float) -> None:
    draw = torch.Generator().manual_seed(0)
    told = [alike(torch.randn(40, 4, generator=draw), torch.randn(40, 4, generator=draw) + moved) for _ in range(40)]
    below = sum(p < 0.05 for p in told)
    assert below == 40 if moved else below <= 6


def test_what_costs_too_much_is_left_out() -> None:
    pair = domains(0)
    advice = advise(pretrained(), {"information": WAYS["information"]}, pair.target, budget=Budget(bytes=10), moments=1)
    assert advice.recipe is None
    assert "the budget is 10" in advice.refused["information"]


def test_recipes_that_are_tried_first_exist_and_need_what_there_is() -> None:
    assert set(candidates({"source", "target"})) == set(FIRST)
    assert all(recipe(name).needs == {"target"} for name in candidates({"target"}))
    with pytest.raises(RecipeError, match="needs train"):
        candidates({"target"}, ["lora"])


def test_the_command_gives_its_reasons() -> None:
    words = ["--model", "acclimate.bench:pretrained", "--target", "digits:test", "--among", "self-learning", "--json"]
    result = CliRunner().invoke(app, ["advise", *words])
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert {row["way"] for row in told["tried"]} == {"unadapted", "self-learning"}
    assert told["reasons"]


def test_the_command_refuses_what_was_not_given() -> None:
    words = ["--model", "acclimate.bench:pretrained", "--target", "digits:test", "--have", "source,target"]
    result = CliRunner().invoke(app, ["advise", *words])
    assert result.exit_code == 2
    assert "--source" in result.stderr
