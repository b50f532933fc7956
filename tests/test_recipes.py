"""Every recipe is a valid sentence, takes its settings, refuses what does not fit, and repeats to the bit."""

from __future__ import annotations

import copy
import functools
from typing import Any

import pytest
import torch
from models import bert, seeded
from torch import Tensor, nn

from acclimate.bench import (
    block_graphs,
    ciphers,
    films,
    fused,
    late,
    pointed,
    relearn,
    scenes,
    sequences,
    shapes,
    shift,
    skeletons,
    topics,
    upgrades,
)
from acclimate.bench.coloured import ColourNet, coloured
from acclimate.bench.convnet import pretrained
from acclimate.bench.digits import digits
from acclimate.bench.experts import LAYERS
from acclimate.bench.in_context import Looker, told
from acclimate.bench.population import population, stimuli
from acclimate.compose import Reconsidered
from acclimate.data import Batches, Runs, as_batches
from acclimate.engine import adapters, attach
from acclimate.loops import Adaptation, consult
from acclimate.loops import stream as open_stream
from acclimate.loops.simulated_pair import as_they_are
from acclimate.losses import DistanceField, MeanSquares
from acclimate.methods import BatchStatistics, FeatureCache, Head, KeptMoments, LoRA, Prefix, SecondHead
from acclimate.methods.absorbed import Reading
from acclimate.methods.given import Given
from acclimate.players import Blended, ImageAugmentation
from acclimate.recipes import Recipe, RecipeError, Sentence, all_recipes, recipe
from acclimate.recipes.extracted import Searched
from acclimate.recipes.papers import papers
from acclimate.recipes.recipe import Together, fitting
from acclimate.recipes.shifted import least_gain
from acclimate.surgery import Slotted

RECIPES = all_recipes()
EXPECTED = {"cotta", "dann", "lame", "lora", "prior", "self-learning", "shot", "tent"}
KINDS = [
    {"domains"}, {"train"}, {"source", "target"}, {"target"}, {"stream"}, {"source"}, {"adapters"}, {"adapters", "train"}, set()
]  # fmt: skip
TINY = {"tries": 8, "epochs": 1, "classes": 3, "rank": 2, "width": 4, "length": 2, "views": 1, "tasks": 1}
CALLS = ("0", "2")


def prompted(model: nn.Module) -> nn.Module:
    """With an adapter to learn from, and a copy of it."""
    source = attach(model, {Prefix(length=2): "attention", Head(classes=3): ""}, name="source").disable()
    source.copy("other source")
    return model


def shaped(rows: int) -> dict[str, Any]:
    """Scenes with labels, and others without."""
    return {"source": shapes.scenes(rows, 1), "target": (shapes.scenes(rows, 2)[0],)}


def filmed(count: int) -> dict[str, Any]:
    """Films with labels, and others without, each whole."""
    labelled, other = (shapes.films(count, seed) for seed in (1, 2))
    policy = Runs(shapes.FRAMES)
    return {"source": Batches(*labelled, size=16, policy=policy), "target": Batches(other[0], size=16, policy=policy)}


def cached(model: nn.Module) -> nn.Module:
    """With an adapter that says nothing yet, to be taught by."""
    attach(model, FeatureCache(most=2), at="head", name="cache").disable()
    return model


def second(outputs: int) -> nn.Module:
    """With a second head that was never taught, and moments of the source."""
    model = pretrained()
    attach(model, {SecondHead(outputs): "head", KeptMoments(): "head"}, name="second", data=digits("train")[0][:96])
    return model


def several_graphs(count: int) -> dict[str, Any]:
    """As many small graphs as make more than one batch, so that their order is the seed's."""
    pairs = [block_graphs.block_graphs(seed, 12) for seed in range(count)]
    return {
        name: (
            {key: torch.cat([pair[side][0][key] for pair in pairs]) for key in ("x", "edges")},
            torch.cat([pair[side][1] for pair in pairs]),
        )
        for side, name in enumerate(("source", "target"))
    }


EMBEDDED = upgrades.Wider(upgrades.Embedder(8), 4).eval()


def slotted() -> nn.Module:
    return Slotted(nn.Conv2d(1, 4, 3, padding=1), width=4, slots=2, channels=1)


OWN: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "slot-tta": (lambda: seeded(slotted), lambda: data_for("stream"), {"steps": 2}),
    "bt2": (
        lambda: copy.deepcopy(EMBEDDED),
        lambda: tuple(each[:96] for each in relearn.known("train")),
        {"old": upgrades.Embedder(4), "width": 20},
    ),
    "clover": (lambda: seeded(bert), None, {"heads": 2}),
    "equivariant-adaptation": (pretrained, lambda: tuple(each[:96] for each in digits("train")), {"at": "conv1"}),
    "lrs-dag": (pretrained, lambda: tuple(each[:96] for each in digits("train")), {"at": "conv1"}),
    "causal-minimax": (
        lambda: seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))),
        lambda: (torch.arange(96.0).view(24, 4) / 96, torch.arange(24.0).view(24, 1) / 24),
        {},
    ),
    "panda": (lambda: prompted(seeded(bert)), None, {}),
    "f-lmm": (
        lambda: seeded(lambda: pointed.Pointer(places=True)),
        lambda: pointed.questions(24)[::2],
        {"grid": (8, 8), "start": 1},
    ),
    "wavemix": (
        pretrained,
        lambda: tuple(each[:96] for each in digits("train")),
        {"at": "conv1", "width": 4, "classes": None},
    ),
    "samda": (
        lambda: seeded(lambda: fused.Fused(scenes.network())),
        lambda: scenes.scenes("train", 96),
        {"classes": None},
    ),
    "wiring": (lambda: seeded(ciphers.Scribe), lambda: ciphers.lines(24), {"at": ciphers.LAYERS}),
    "adcsd": (
        lambda: late.forecaster(0),
        lambda: tuple(each[:96] for each in late.windows(late.flows(0, 130, changed=True))),
        {"variables": late.VARIABLES, "at": ""},
    ),
    "cyclic": (lambda: films.reconstructor(0), lambda: films.film(0, 48)[:2], {}),
    "rna": (
        lambda: Reconsidered(pretrained()),
        lambda: ({"x": digits("train")[0][:96], "feedback": torch.ones(96, 5)}, digits("train")[1][:96]),
        {"at": "norm"},
    ),
    "label-shift-adapter": (
        lambda: Given(pretrained(), "condition"),
        lambda: ({"x": digits("train")[0][:96], "condition": torch.full((96, 10), 0.1)}, digits("train")[1][:96]),
        {"at": "head", "classes": 10},
    ),
    "streamadapter": (
        lambda: Reading(Looker()),
        lambda: ({"x": told(96, 0)[1], "context": told(96, 0)[0]}, told(96, 0)[2]),
        {"at": "*value"},
    ),
    "dda": (pretrained, lambda: tuple(each[:96] for each in digits("train")), {"at": "conv1", "steps": 2}),
    "corruption-editor": (
        pretrained,
        lambda: tuple(each[:96] for each in digits("train")),
        {"at": "conv1", "steps": 2},
    ),
    "cma": (
        lambda: seeded(shapes.ShapesNet),
        lambda: {"target": Batches(shapes.views(16, 1, shapes.Shift(noise=0.2))[0])},
        {"features": "each:neck"},
    ),
    "graphecho": (lambda: seeded(shapes.ShapesNet), lambda: filmed(4), {"features": "each:neck", "threshold": 0.0}),
    "off-nadir": (lambda: seeded(shapes.ShapesNet), lambda: shapes.scenes(16, 1), {}),
    "daformer": (lambda: seeded(shapes.ShapesNet), lambda: shaped(16), {}),
    "datr": (
        lambda: seeded(shapes.ShapesNet),
        lambda: shaped(16),
        {"features": "each:neck", "extra": "coarse.0", "reach": 1, "threshold": 0.0},
    ),
    "strurw": (lambda: seeded(block_graphs.GraphNet), lambda: several_graphs(34), {}),
    "token-graph": (lambda: seeded(topics.TopicNet), lambda: topics.topics(0, 48)[0], {"at": "head"}),
    "tfup-t": (lambda: cached(pretrained()), None, {}),
    "gain-control": (population, lambda: (stimuli(400, 0.5, 0),) * 2, {}),
    "poseda": (
        skeletons.lifter,
        lambda: {"source": skeletons.filmed(0, 64, 8).source, "target": skeletons.filmed(0, 64, 8).target},
        {},
    ),
    "post": (
        skeletons.locator,
        lambda: {"target": skeletons.pictures(0, 64, True)},
        {"prior": DistanceField(20)},
    ),
    "gtta": (pretrained, lambda: data_for("stream"), dict(zip(("inputs", "labels"), digits("train"), strict=True))),
    "ttt": (lambda: second(4), lambda: data_for("stream"), {}),
    "ttt-plus-plus": (lambda: second(8), lambda: data_for("stream"), {}),
    "ta3n": (
        sequences.network,
        lambda: {"source": sequences.filmed(0, 64, 8).source, "target": sequences.filmed(0, 64, 8).target},
        {},
    ),
}
"""Recipes for networks of a kind of their own: the model, the data where others' do not fit, and settings."""
OWN |= {
    name: (
        lambda: seeded(ColourNet),
        lambda: {"domains": {key: (x[:48], y[:48]) for key, (x, y) in coloured(0)[0].items()}},
        {},
    )
    for name, each in RECIPES.items()
    if each.needs == {"domains"}
}
OTHER = {
    "adaptive-prior": 4.0,
    "deep-jdot-features": 0.5,
    "augmentation": ImageAugmentation(noise=0.5),
    "and-mask-agreement": 0.5,
    "and-mask-steepness": 2.0,
    "eqrm-level": 0.5,
    "ecotta-kernel": 5,
    "f-lmm-grid": (8, 8),
    "fixmatch-temperature": 0.4,
    "wavemix-width": 4,
    "wiring-start": "even",
    "last": "1.*",
    "frames": "relations",
    "relations": "frames",
    "attended": "frames",
    "variables": 7,
    "memspm-match": 0.5,
    "cema-teacher": nn.Linear(2, 2),
    "prior": nn.Linear(2, 2),
    "simulate": as_they_are,
    "imagine": torch.neg,
    "sensor": (1.0,),
    "cyclic-rate": 0.5,
    "adcsd-kernel": 7,
    "columns": (1, 2),
    "old": nn.Linear(2, 2),
    "extra": "1.*",
    "features": "conv3",
    "align": "none",
    "normalise": True,
    "classes": 5,
    "lr": 0.007,
    "alpha": 3.0,
    "shares": (0.5, 0.5),
    "direction": "mean",
    "activation": "relu",
    "augmentations": (ImageAugmentation(noise=0.5),),
    "at": "1.*",
    "blend": 0.25,
    "q": 0.5,
    "keep": 0.25,
    "decay": 0.5,
    "threshold": 0.5,
    "norms": False,
    "preserve": False,
    "tied": "both",
    "each": "all",
    "start": 0.25,
    "grain": "row",
    "top": 3,
    "experts": (1, 2),
    "node": "Stack",
    "index": 1,
    "basis": 1,
    "gate": "channel",
    "form": "parallel",
    "reads": "input",
    "residual": False,
    "teacher": "other source",
    "tfup-t-teacher": "another",
    "strurw-ratio": 0.5,
    "several": True,
    "noise": 0.25,
    "inputs": torch.zeros(2, 1, 8, 8),
    "labels": torch.zeros(2, dtype=torch.long),
    "mix": Blended(),
    "epsilon": 2.0,
    "gamma": 0.5,
    "cmf-alpha": 0.5,
    "warm": {"0/conv1/up": torch.ones(1)},
}
"""For settings that cannot simply be doubled: a value that no default has."""

every = pytest.mark.parametrize("name", RECIPES)


def tiny(each: Recipe) -> Recipe:
    layers = {"experts": (1, 2), "at": CALLS if each.name == "hyperformer" else LAYERS, "last": LAYERS}
    sizes = {**TINY, **layers} if isinstance(each.made, Together) else TINY
    sizes = {**sizes, **OWN[each.name][2]} if each.name in OWN else sizes
    return each.using(**{name: value for name, value in sizes.items() if name in each.defaults})


def model_for(each: Recipe) -> nn.Module:
    """Labelled recipes come from language and put a head on an encoder; the others have a classifier that exists."""
    if each.name in OWN:
        own: nn.Module = OWN[each.name][0]()
        return own
    if isinstance(each.made, Together):
        return among_adapters() if "adapters" in each.needs else relearn.network()
    return seeded(bert) if each.needs == {"train"} else pretrained()


def among_adapters() -> nn.Module:
    """A network with adapters that act, each as drawn."""
    model = relearn.network()
    for seed, name in enumerate(data_for("adapters")):
        adapter = attach(model, LoRA(rank=2), at=LAYERS, name=name, seed=seed)
        drawn = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for tensor in adapter.tensors().values():
                tensor.copy_(torch.randn(tensor.shape, generator=drawn) / 8)
    return model


@functools.cache
def data_for(kind: str, together: bool = False) -> Any:
    """For adapters their names, each with what it is for."""
    if kind == "adapters":
        return {
            name: relearn.known("train")[0][:8] * scale for name, scale in {"one": 1, "two": -1, "three": 2}.items()
        }
    if kind == "train" and together:
        images, labels = relearn.rearranged("train")
        return images[:48], labels[:48]
    if kind == "train":
        drawn = torch.Generator().manual_seed(0)
        ids = torch.randint(3, 50, (24, 7), generator=drawn)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, torch.arange(24) % 3
    images, labels = digits("train" if kind == "source" else "test")
    shifted = images if kind == "source" else (images * 0.7 + 0.15)
    return shifted[:96], labels[:96]


def test_the_recipes_of_the_thin_slice_are_there() -> None:
    assert set(RECIPES) >= EXPECTED


def test_every_paper_that_a_recipe_names_is_in_the_catalogue() -> None:
    named = {title for each in RECIPES.values() for title in each.papers}
    of = {paper.title: paper.recipes for paper in papers(RECIPES, {})}
    assert all(of[title] for title in named)
    assert named == {title for title, found in of.items() if found}


def test_one_recipe_of_domain_adversarial_training_stands_for_both_papers() -> None:
    assert len(recipe("dann").papers) == 2


@every
def test_it_says_what_it_is_and_can_be_measured(name: str) -> None:
    each = RECIPES[name]
    assert each.name == name
    assert each.summary.endswith(".")
    assert each.claims
    assert each.needs in KINDS


@every
def test_its_defaults_are_a_sentence_in_a_loop_over_what_it_needs(name: str) -> None:
    each = RECIPES[name]
    if each.needs == {"stream"}:
        assert isinstance(each.made, Adaptation)
        assert each.adaptation == each.made
        with pytest.raises(RecipeError, match=f"{name} is not taught from scratch"):
            _ = each.sentence
    else:
        made = each.made
        assert isinstance(made, Sentence | Together)
        taught = set(made.loop.data) if made.loop else set()
        taught |= {"train"} if isinstance(made, Together) and isinstance(made.join, Searched) else set()
        assert taught == each.needs - {"adapters"}
        if isinstance(made, Together):
            assert "adapters" in each.needs or taught
            assert (made.loss is None) == (made.loop is None) == (made.rule is None)
            with pytest.raises(RecipeError, match=f"{name} is not taught from scratch"):
                _ = each.sentence
        with pytest.raises(RecipeError, match=f"{name} does not run on a stream"):
            _ = each.adaptation


def other(name: str, default: Any) -> Any:
    if name in OTHER and not (isinstance(OTHER[name], str | tuple) and isinstance(default, int)):
        return OTHER[name]
    assert isinstance(default, int | float), f"a setting {name}={default!r} needs another value in OTHER"
    return default * 2


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n, each in RECIPES.items() for s in each.defaults])
def test_every_setting_changes_the_sentence(name: str, setting: str) -> None:
    each = RECIPES[name]
    value = OTHER.get(f"{name}-{setting}") or other(setting, each.defaults[setting])
    assert value != each.defaults[setting]
    changed = each.using(**{setting: value})
    assert changed.made != each.made
    assert recipe(name, **{setting: value}).settings == {setting: value}
    assert not each.settings


@every
def test_an_unknown_setting_is_refused_by_name(name: str) -> None:
    with pytest.raises(RecipeError, match=rf"{name}.*'wiggle'") as error:
        recipe(name, wiggle=1)
    assert all(setting in str(error.value) for setting in RECIPES[name].defaults)


@every
@pytest.mark.parametrize("given", KINDS, ids=lambda kind: "+".join(sorted(kind)) or "nothing")
def test_data_that_it_does_not_take_is_refused_with_recipes_that_do(name: str, given: set[str]) -> None:
    each = RECIPES[name]
    if given == each.needs:
        assert name in fitting(given)
        return
    model = model_for(each)
    held = list(adapters(model))
    with pytest.raises(RecipeError, match=" and ".join(sorted(each.needs))) as error:
        each.run(model, **dict.fromkeys(given, ([], [])))
    assert name not in fitting(given)
    assert all(would in str(error.value) for would in fitting(given))
    assert list(adapters(model)) == held


def outcome(each: Recipe, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor], nn.Module]:
    """What a run changed, before and after, and the model that carries it."""
    model = model_for(each)
    if each.needs == {"stream"}:
        live = open_stream(model, each, guard=False, seed=seed)
        start = {key: tensor.clone() for key, tensor in live.adapter.tensors().items()}
        inputs, labels = OWN[name][1]() if (name := each.name) in OWN else data_for("stream")
        parts = []
        for part in inputs.split(32):
            parts.append(live(part))
            consult(live, lambda ids: labels[ids])
        answers = torch.cat(parts)
        live.feedback(range(len(inputs)), labels)
        return start, {**live.adapter.tensors(), "answers": answers}, model
    made = each.made
    data = {kind: data_for(kind, isinstance(made, Together)) for kind in each.needs}
    if each.name in OWN and OWN[each.name][1] is not None:
        own = OWN[each.name][1]()
        data = own if isinstance(own, dict) and set(own) == each.needs else {"train": own}
        data = own if isinstance(own, dict) else {"train": own}
        data = own if isinstance(own, dict) and own.keys() == each.needs else {"train": own}
    if isinstance(made, Together):
        if isinstance(made.loss, MeanSquares):
            data["train"] = (data["train"][0], nn.functional.one_hot(data["train"][1], 10).float())
        start = {}  # nothing learns: the tree is what it is
        if made.loss is not None:
            fresh = made.join(model_for(each), data.get("adapters", ()), name=each.name, seed=seed)
            start = {key: tensor.clone() for key, tensor in fresh.tensors().items()}
        done = each.run(model, seed=seed, progress=False, **data)
        assert done.adapter.name == each.name
        assert (done.run is not None and done.run.finished) == (made.loss is not None)
        return start, done.adapter.tensors(), model
    looking = any(method.looks for method in each.sentence.method)
    first = next(iter(as_batches(data["train"]))).inputs if looking else None
    fresh = attach(model_for(each), dict(each.sentence.method), name=each.name, data=first, seed=seed)
    start = {key: tensor.clone() for key, tensor in fresh.tensors().items()}
    done = each.run(model, seed=seed, progress=False, **data)
    assert done.run is not None
    assert done.run.finished
    return start, done.adapter.tensors(), model


@every
def test_what_a_recipe_makes_of_adapters_leaves_them_as_they_were(name: str) -> None:
    each = tiny(RECIPES[name])
    if isinstance(each.made, Together) and "adapters" in each.needs:
        before = {name: dict(adapter.tensors()) for name, adapter in adapters(model_for(each)).items()}
        model = outcome(each, seed=1)[2]
        assert all(same(tensors, adapters(model)[name].tensors()) for name, tensors in before.items())


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def stripped(model: nn.Module) -> nn.Module:
    for adapter in list(adapters(model).values()):
        adapter.detach()
    return model


@every
def test_a_run_repeats_to_the_bit_learns_something_and_leaves_the_base_alone(name: str) -> None:
    each = tiny(RECIPES[name])
    base = {key: tensor.clone() for key, tensor in stripped(model_for(each)).state_dict().items()}
    start, first, model = outcome(each, seed=1)
    again = outcome(each, seed=1)[1]
    assert same(first, again)
    if start:
        assert any(not torch.equal(start[key], first[key]) for key in start)
        assert not same(first, outcome(each, seed=2)[1]) or each.needs == {"stream"}
    assert same(base, dict(stripped(model).state_dict()))


def test_centroids_ask_for_what_each_adapter_is_for() -> None:
    with pytest.raises(RecipeError, match="a batch of what it is for"):
        recipe("token-level").run(among_adapters(), adapters=["one", "two"])


def test_a_signature_is_of_two_adapters_at_least() -> None:
    with pytest.raises(RecipeError, match="1 adapters were given"):
        recipe("signatures").run(among_adapters(), adapters=["one"])


def test_more_groups_of_layers_than_layers_are_refused() -> None:
    with pytest.raises(RecipeError, match="at least 5 layers"):
        recipe("mola", experts=(1,) * 5, at=LAYERS).run(relearn.network(), train=data_for("train", True))


def test_a_recipe_by_another_name_is_refused_with_near_misses() -> None:
    with pytest.raises(RecipeError, match="tent"):
        recipe("tnet")


def test_a_run_scores_before_and_after_where_there_is_data_for_it() -> None:
    done = tiny(recipe("shot")).run(pretrained(), target=data_for("target"), eval=data_for("target"), progress=False)
    assert done.before is not None
    assert done.after is not None
    assert done.before.rows == done.after.rows == 96


def test_shot_leaves_the_classifier_and_the_prior_does_not() -> None:
    trained = {}
    for name in ("shot", "prior"):
        done = tiny(recipe(name)).run(pretrained(), target=data_for("target"), progress=False)
        trained[name] = {key.split("/")[1] for key in done.adapter.tensors()}
    assert trained["prior"] - trained["shot"] == {"fc.weight", "fc.bias"}


def test_without_blend_nothing_is_asked_of_batch_norms() -> None:
    for name in ("tent", "cotta", "self-learning"):
        kinds = [{type(method) for method in recipe(name, blend=b).made.method} for b in (1.0, None)]
        assert kinds[0] - kinds[1] == {BatchStatistics}


def test_a_probe_guesses_within_a_domain_and_tells_two_apart() -> None:
    images, _ = digits("test")
    drawn = images[torch.randperm(600, generator=torch.Generator().manual_seed(0))]
    for penalty in (1.0, 1e6):
        assert abs(shift.proxy_a_distance(pretrained(), drawn[:300], drawn[300:], penalty)) < 0.5
        assert shift.proxy_a_distance(pretrained(), drawn[:300], 1 - drawn[300:], penalty) > 1.5


def test_a_large_penalty_is_the_difference_of_the_means() -> None:
    class Plain(nn.Module):
        acclimate_roles = {"fc": "head"}

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(x)
            return out

    drawn = torch.randn(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 1e-2])
    mixed = drawn @ torch.tensor([[1.0, 1.0], [1.0, -1.0]])  # the domains differ along the narrow direction alone
    one, two = mixed[:200], mixed[200:] + torch.tensor([0.05, -0.05])
    assert shift.proxy_a_distance(Plain(), one, two) > 1.5
    assert shift.proxy_a_distance(Plain(), one, one.flip(0), 1e6) < 0.5


def test_the_skewed_pair_has_the_asked_shares_where_there_are_rows_enough() -> None:
    pair = shift.skewed(shift.domains(0), [0.16] * 5 + [0.04] * 5)
    for _, labels in (pair.target, pair.test):
        counts = labels.bincount(minlength=10)
        assert counts[5:].tolist() == [6] * 5
        assert all(12 < count <= 24 for count in counts[:5])


def test_rounds_hold_the_same_images_in_other_orders() -> None:
    one = shift.rounds(("noise", "clean"), 2, seed=0, size=300)
    assert [moment.condition for moment in one] == ["noise", "noise", "clean", "clean"] * 2
    first, second = (torch.cat([m.images for m in half if m.condition == "clean"]) for half in (one[:4], one[4:]))
    assert not torch.equal(first, second)
    assert torch.allclose(first.sum(0), second.sum(0), rtol=1e-4)
    again = shift.rounds(("noise", "clean"), 2, seed=0, size=300)
    assert all(torch.equal(a.images, b.images) for a, b in zip(one, again, strict=True))


def test_the_least_gain_is_that_of_the_worst_seed() -> None:
    assert least_gain({"a": [5.0, 9.0], "b": [4.0, 10.0]}, "a", "b") == -1
