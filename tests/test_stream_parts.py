"""Each part of a stream's row against its formula written out, and its laws: reset exact, kept and brought back exact."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_stream import batches, constant, model, same
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.bench.convnet import DigitsNet
from acclimate.engine import adapters
from acclimate.loops import Adaptation, stream
from acclimate.losses import (
    ConjugateLabel,
    Consistency,
    Entropy,
    LikelihoodRatio,
    LossError,
    MarginalEntropy,
    PrototypeContrast,
    PullToStart,
    Seen,
    SymmetricCrossEntropy,
    conjugate,
)
from acclimate.methods import (
    HRA,
    T3A,
    Affine,
    BatchStatistics,
    FollowedStatistics,
    Full,
    InstanceStatistics,
    LoRA,
    Scale,
)
from acclimate.players import (
    CategoryBalanced,
    ContinualFilter,
    Diverse,
    EMATeacher,
    Every,
    Fisher,
    ImageAugmentation,
    LowEntropy,
    Novel,
    Player,
    PredictionBalanced,
    PriorCorrection,
    Prototypes,
    Sensitive,
    ShuffledPatches,
    StochasticRestore,
    TowardsStart,
    Views,
)
from acclimate.recipes import recipe
from acclimate.rules import Gradient, SharpnessAware

ROWS, CLASSES = 6, 4


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seen(logits: Tensor, inputs: Any = None, **more: Any) -> Seen:
    return Seen(inputs, None, logits, **more)


def weights(player: Player, logits: Tensor, inputs: Any = None, net: nn.Module | None = None) -> Tensor:
    looked = seen(logits, inputs)
    player.begin(net or model(), []).look(looked)
    assert looked.weights is not None
    return looked.weights


# Filters


def test_rows_like_the_usual_prediction_are_left_out_and_only_rows_that_teach_are_remembered() -> None:
    first, second = draw(ROWS, CLASSES), 3 * draw(ROWS, CLASSES, seed=1)
    sure, novel = LowEntropy(margin=0.95).begin(model(), []), Novel(margin=0.7).begin(model(), [])
    for logits in (first, second):
        looked = seen(logits)
        sure.look(looked)
        novel.look(looked)
    p, q = first.softmax(1), second.softmax(1)
    of = [torch.special.entr(each).sum(1) < 0.95 * math.log(CLASSES) for each in (p, q)]
    mean = p[of[0]].mean(0)
    kept = of[1] & (F.cosine_similarity(q, mean[None]) < 0.7)
    assert 0 < kept.sum() < ROWS and torch.equal(looked.weights > 0, kept)
    torch.testing.assert_close(novel.tensors()["mean"], 0.9 * mean + 0.1 * q[kept].mean(0))


def test_diverse_rows_teach_by_certainty() -> None:
    logits = 2 * draw(ROWS, CLASSES)
    p = logits.softmax(1)
    d = 1 - F.cosine_similarity(torch.full((1, CLASSES), 0.25), p)
    c = -torch.special.entr(p).sum(1)
    d, c = ((v - v.min()) / (v.max() - v.min()) for v in (d, c))
    expected = torch.where(d < d.mean(), 0.0, (d * c * 3).exp())
    torch.testing.assert_close(weights(Diverse(), logits), expected)
    assert weights(Diverse(), logits[:1]).isfinite().all()


def test_rows_that_keep_their_class_without_shape_are_left_out() -> None:
    net, inputs = model().eval(), batches(1, 8)[0]
    with torch.no_grad():
        logits, gone = net(inputs), net(ImageAugmentation(shift=2)(inputs, torch.Generator().manual_seed(0)))
    p, q = (z.softmax(1).gather(1, logits.argmax(1, keepdim=True)).flatten() for z in (logits, gone))
    h = torch.special.entr(logits.softmax(1)).sum(1)
    expected = torch.where(p - q > 0.01, (0.4 * math.log(CLASSES) - h).exp() + (p - q).exp(), 0.0)
    player = Sensitive(0.01, ImageAugmentation(shift=2))
    torch.testing.assert_close(weights(player, logits, inputs, net), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 6])
def test_patches_change_places_whole(size: int) -> None:
    x = draw(3, 2, size, size)
    view = ShuffledPatches(4 if size == 8 else 2)(x, torch.Generator().manual_seed(1))
    step = size // (4 if size == 8 else 2)
    cut = [
        each.unfold(2, step, step).unfold(3, step, step).permute(0, 2, 3, 1, 4, 5).flatten(1, 2) for each in (x, view)
    ]
    for before, after in zip(*cut, strict=True):
        assert {tuple(p.flatten().tolist()) for p in before} == {tuple(p.flatten().tolist()) for p in after}
    assert not torch.equal(x, view)
    assert ShuffledPatches(4)(draw(1, 1, 7, 9), torch.Generator()).shape == (1, 1, 7, 9)
    with pytest.raises(ValueError, match="no 4 patches"):
        ShuffledPatches(4)(draw(1, 1, 3, 9), torch.Generator())
    with pytest.raises(ValueError, match="hold none"):
        ShuffledPatches(4)(draw(3, 4), torch.Generator())


# Losses


def test_symmetric_cross_entropy_is_two_cross_entropies_and_consistency_is_half_of_it() -> None:
    looked = seen(
        draw(ROWS, CLASSES), teacher=draw(ROWS, CLASSES, seed=1), features={"views": draw(ROWS, 2, CLASSES, seed=2)}
    )
    p, q, v = looked.logits.softmax(1), looked.teacher.softmax(1), looked.features["views"].softmax(2)
    torch.testing.assert_close(SymmetricCrossEntropy(alpha=0.0)(looked), Consistency()(looked))
    both = -0.7 * (q * p.log()).sum(1).mean() - 0.3 * (p * q.log()).sum(1).mean()
    torch.testing.assert_close(SymmetricCrossEntropy(alpha=0.3)(looked), both)
    views = torch.stack(
        [-0.5 * ((p * v[:, j].log()).sum(1) + (v[:, j] * p.log()).sum(1)).mean() for j in range(2)]
    ).mean()
    torch.testing.assert_close(SymmetricCrossEntropy("views", "own")(looked), views)


def test_likelihood_ratio_and_marginal_entropy_are_their_formulas() -> None:
    z, views = 3 * draw(ROWS, CLASSES), draw(ROWS, 3, CLASSES, seed=1)
    p = z.softmax(1).clamp_max(0.99)
    torch.testing.assert_close(LikelihoodRatio()(seen(z)), -(p * (p / (1 - p) + 1e-5).log()).sum(1).mean())
    m = views.softmax(2).mean(1)
    torch.testing.assert_close(
        MarginalEntropy()(seen(z, features={"views": views})), torch.special.entr(m).sum(1).mean()
    )


def test_the_conjugate_label_makes_the_slopes_of_the_loss_meet() -> None:
    """f(z) = logsumexp z + epsilon and g(z) = z + epsilon p: the label solves grad f = (dg/dz)^T y."""
    z, epsilon = draw(CLASSES).double(), 2.0
    p = z.softmax(0)
    y = conjugate(p[None], epsilon)[0]
    slope = torch.autograd.functional.jacobian(lambda t: t + epsilon * t.softmax(0), z)
    torch.testing.assert_close(slope.mT @ y, p)
    torch.testing.assert_close(y.sum(), torch.ones((), dtype=y.dtype))
    torch.testing.assert_close(ConjugateLabel(0.0)(seen(z[None])), Entropy()(seen(z[None])))


def test_prototype_contrast_leaves_out_prototypes_of_the_same_class() -> None:
    f, b = draw(3, 5), draw(2, 5, seed=1)[[0, 1, 0]]
    looked = seen(draw(3, CLASSES), features={"penultimate": f, "prototype": b})
    a, c = F.normalize(f, dim=1), F.normalize(b, dim=1)
    total = 0.0
    for i, others in enumerate([[1], [0, 2], [1]]):
        rest = [j for j in range(3) if j != i]
        pair = (a[i] @ c[i] / 0.1).exp()
        there = pair + sum((a[i] @ c[j] / 0.1).exp() for j in others) + sum((a[i] @ a[j] / 0.1).exp() for j in rest)
        back = pair + sum((c[i] @ c[j] / 0.1).exp() for j in others) + sum((c[i] @ a[j] / 0.1).exp() for j in others)
        total = total - (pair / there).log() / 6 - (pair / back).log() / 6
    torch.testing.assert_close(PrototypeContrast()(looked), total)


# What is trained is held


def parameter() -> nn.Parameter:
    return nn.Parameter(draw(5))


def test_towards_start_and_the_continual_filter_are_their_formulas() -> None:
    w = parameter()
    start = w.detach().clone()
    drawn, filtered = TowardsStart(0.9).begin(nn.Identity(), [("w", w)]), None
    with torch.no_grad():
        w.add_(1)
        drawn.learn()
    torch.testing.assert_close(w.detach(), 0.9 * (start + 1) + 0.1 * start)
    filtered = ContinualFilter(0.95, 0.9, 0.05).begin(nn.Identity(), [("w", w)])
    start, hidden, variance = w.detach().clone(), w.detach().clone(), 0.0
    for _ in range(3):
        with torch.no_grad():
            w.add_(1)
        expected = w.detach().clone()
        variance = 0.95**2 * variance + 0.05
        b = max(0.89, 0.95 / (variance + 0.95))
        hidden, variance = b * (0.95 * hidden + 0.05 * start) + (1 - b) * expected, b * variance
        filtered.learn()
        torch.testing.assert_close(w.detach(), 0.9 * expected + 0.1 * hidden)


def test_fisher_weighs_the_pull_by_squared_slopes() -> None:
    torch.manual_seed(0)
    net, x = nn.Linear(3, 2), draw(8, 3)
    named = list(net.named_parameters())
    state = Fisher(x, rows=4).begin(net, named)
    total = [torch.zeros_like(p) for _, p in named]
    for part in x.split(4):
        z = net(part)
        for each, slope in zip(
            total, torch.autograd.grad(F.cross_entropy(z, z.argmax(1)), net.parameters()), strict=True
        ):
            each += slope**2 / 2
    start = [p.detach() - 0.5 for _, p in named]
    looked = seen(net(x), x, start=list(zip(net.parameters(), start, strict=True)))
    state.look(looked)
    torch.testing.assert_close(PullToStart()(looked), sum(t.sum() * 0.25 / 2 for t in total))


def test_sharpness_aware_follows_the_gradient_uphill_and_adam_of_it_resets() -> None:
    inner = Gradient(lr=0.1, optimiser="sgd", momentum=0.9, schedule="constant", warmup=0, clip=None)
    w, a = parameter(), draw(5, seed=1)
    rule = SharpnessAware(inner, radius=0.2).begin([("w", w, 1.0)], 10)
    plain, speed = w.detach().clone(), torch.zeros(5)
    for _ in range(3):
        value = rule.step(lambda: (a * w**4).sum())
        g = 4 * a * plain**3
        there = plain + 0.2 * g / g.norm()
        speed = 0.9 * speed + 4 * a * there**3
        plain = plain - 0.1 * speed
        assert value == pytest.approx(float((a * there**4).sum()), rel=1e-5)
        torch.testing.assert_close(w.detach(), plain)
    with pytest.raises(ValueError, match="radius=0"):
        SharpnessAware(inner, radius=0)


# Memories


def held(state: Any) -> list[int]:
    return sorted(item.label for item in state.items)


@pytest.mark.parametrize("player", [CategoryBalanced(8, 8), PredictionBalanced(8, 8)])
def test_a_memory_of_a_sorted_stream_holds_every_class_and_never_more_than_it_may(player: Any) -> None:
    state, given = player.begin(nn.Identity(), []), []
    for label in range(4):
        for number in range(3):
            logits = 4 * F.one_hot(torch.full((10,), label), 4).float() + 0.1 * draw(10, 4, seed=number)
            given.append(state.practise((draw(10, 2, seed=label), torch.full((10, 1), label)), logits))
            assert len(state.items) <= 8
    counts = [held(state).count(label) for label in range(4)]
    assert min(counts) >= 1 and max(counts) <= 4
    material = given[-1]
    assert isinstance(material, tuple) and material[0].shape == (8, 2)
    assert sorted(material[1].flatten().tolist()) == held(state)
    assert any(each is None for each in given) is False or len(state.items) == 8


def test_new_rows_of_a_full_class_replace_the_unsure_and_newer_rows_teach_more() -> None:
    state = CategoryBalanced(4, 1).begin(nn.Identity(), [])
    logits = torch.tensor([[3.0, 0.0], [0.1, 0.0], [5.0, 0.0]])
    state.practise(torch.arange(3.0)[:, None], logits)
    assert sorted(float(item.inputs[""]) for item in state.items) == [0.0, 2.0]  # a class has two places of four
    looked = seen(draw(2, 2).requires_grad_(), state.all)
    state.look(looked)
    ages = torch.tensor([item.age / 4 for item in state.items])
    torch.testing.assert_close(looked.weights, (-ages).exp() / (1 + (-ages).exp()))


# Methods


def headed() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).eval()


def test_t3a_answers_by_the_surest_rows_of_each_class() -> None:
    net, inputs = headed(), [draw(9, 3, seed=n) for n in range(3)]
    frozen = copy.deepcopy(net)
    with torch.no_grad():
        w = frozen[2].weight
        support = [(k, float(torch.special.entr(frozen[2](w)[k].softmax(0)).sum()), w[k]) for k in range(4)]
        expected = []
        for x in inputs:
            f = frozen[:2](x)
            z = frozen[2](f)
            support += [
                (int(r.argmax()), float(torch.special.entr(r.softmax(0)).sum()), v) for r, v in zip(z, f, strict=True)
            ]
            support = [s for k in range(4) for s in sorted((s for s in support if s[0] == k), key=lambda s: s[1])[:2]]
            centres = torch.stack([sum(F.normalize(v, dim=0) for c, _, v in support if c == k) for k in range(4)])
            expected.append(f @ F.normalize(centres, dim=1).T)
    with stream(net, Adaptation({T3A(most=2): "2"}), guard=False, window=0) as opened:
        found = torch.cat([opened(x) for x in inputs])
    torch.testing.assert_close(found, torch.cat(expected))


def test_instance_statistics_shrink_to_followed_ones_and_correct_far_rows() -> None:
    net, x = model().eval(), batches(1)[0]
    answers = {}
    for name, method in {
        "wide": InstanceStatistics(width=1e6),
        "followed": FollowedStatistics(0.01),
        "k": InstanceStatistics(),
    }.items():
        with stream(copy.deepcopy(net), Adaptation({method: "1"}), guard=False) as opened:
            answers[name] = opened(x)
    torch.testing.assert_close(answers["wide"], answers["followed"], rtol=1e-4, atol=1e-4)
    norm = net[1]
    y = net[0](x)
    var, mean = torch.var_mean(y, (2, 3), keepdim=True)
    mu, v = norm.running_mean.view(1, -1, 1, 1), norm.running_var.view(1, -1, 1, 1) + norm.eps
    shrink = lambda a, b: a.sign() * (a.abs() - b).clamp_min(0)  # noqa: E731
    m = mu + shrink(mean - mu, 4 * (v / 16).sqrt())
    d = (v - norm.eps + shrink(var - v + norm.eps, 4 * v * math.sqrt(2 / 15))).clamp_min(0)
    z = (y - m) / (d + norm.eps).sqrt() * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(answers["k"], net[2:](z).detach(), rtol=1e-3, atol=1e-3)


# Teachers and players that give


def test_prior_correction_multiplies_logits_by_smoothed_shares() -> None:
    net = headed()
    x = draw(9, 3)
    with stream(
        net, Adaptation({Affine(): "0.weight"}, players=(PriorCorrection(),), answer="teacher"), guard=False, window=0
    ) as opened:
        found = opened(x)
    z = headed()(x).detach()
    shares = z.softmax(1).mean(0)
    s = 0.25 / shares.max()
    torch.testing.assert_close(found, z * 4 * (shares + s) / (1 + 4 * s))


def test_prototypes_are_the_classifiers_rows_or_those_given_and_a_model_without_head_says_so() -> None:
    class Headed(nn.Module):
        acclimate_roles = {"fc": "head"}

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(5, 4)

    net, features = Headed(), draw(6, 5)
    looked = seen(draw(6, 4), features={"penultimate": features})
    Prototypes().begin(net, []).look(looked)
    nearest = F.cosine_similarity(features[:, None], net.fc.weight[None], dim=2).argmax(1)
    assert torch.equal(looked.features["prototype"], net.fc.weight[nearest])
    with pytest.raises(ValueError, match="give Prototypes"):
        Prototypes().begin(nn.Linear(2, 2), [])
    with pytest.raises(LossError, match="features at 'penultimate'"):
        Prototypes(draw(4, 5)).begin(net, []).look(seen(draw(6, 4)))


# Laws of every part

ADAPTED = {Affine(): "norm"}
CONSISTENT = SymmetricCrossEntropy("views", "own")
PARTS: dict[str, Callable[[], Adaptation]] = {
    "novel": lambda: Adaptation(ADAPTED, Entropy(), constant(), (Novel(0.99),)),
    "diverse": lambda: Adaptation(ADAPTED, Entropy(), constant(), (Diverse(),)),
    "sensitive": lambda: Adaptation(ADAPTED, Entropy(), constant(), (Sensitive(-0.5, ShuffledPatches(2)),)),
    "views": lambda: Adaptation(ADAPTED, MarginalEntropy(), constant(), (Views(views=2),)),
    "towards start": lambda: Adaptation(ADAPTED, Entropy(), constant(), (TowardsStart(0.9),)),
    "filtered": lambda: Adaptation(ADAPTED, Entropy(), constant(), (ContinualFilter(),)),
    "fisher": lambda: Adaptation(ADAPTED, Entropy() + PullToStart(), constant(), (Fisher(),)),
    "category balanced": lambda: Adaptation(ADAPTED, CONSISTENT, constant(), (CategoryBalanced(16, 16), Views())),
    "prediction balanced": lambda: Adaptation(ADAPTED, Entropy(), constant(), (PredictionBalanced(16, 16),)),
    "corrected": lambda: Adaptation(ADAPTED, Entropy(), constant(), (PriorCorrection(),), answer="teacher"),
    "prototypes": lambda: Adaptation(
        ADAPTED, PrototypeContrast(at="4"), constant(), (Prototypes(draw(4, 32), at="4"), EMATeacher(0.9))
    ),
    "sharpness": lambda: Adaptation(ADAPTED, Entropy(), SharpnessAware(constant())),
    "t3a": lambda: Adaptation({T3A(most=3): "6"}),
    "instance statistics": lambda: Adaptation({InstanceStatistics(): "all"}),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_snapshot_brings_all_of_a_part_back_and_a_reset_begins_anew(name: str) -> None:
    with stream(model(), PARTS[name](), guard=False, seed=2) as opened:
        first = torch.cat([opened(batch) for batch in batches(3)])
        kept = opened.learner.snapshot()
        draws = copy.deepcopy(opened._draws)
        later = torch.cat([opened(batch) for batch in batches(3, seed=4)])
        opened.learner.restore(kept)
        opened._draws = draws
        assert same(opened.learner.snapshot().tensors, kept.tensors)
        opened.window.clear()
        assert torch.equal(torch.cat([opened(batch) for batch in batches(3, seed=4)]), later)
        opened.reset()
        assert torch.equal(torch.cat([opened(batch) for batch in batches(3)]), first)


# Any parts recombine

STATISTICS = [{}, {BatchStatistics(): "all"}, {FollowedStatistics(): "all"}, {InstanceStatistics(): "all"}]
TRAINED = [
    {Affine(): "norm"},
    {LoRA(rank=2): ["2.weight"]},
    {Full(): "all"},
    {HRA(rank=2): ["2.weight"]},
    {Scale(): "6.weight"},
]
LOSSES = [Entropy(), LikelihoodRatio(), ConjugateLabel(), MarginalEntropy(), SymmetricCrossEntropy(), CONSISTENT]
FILTERS = [(), (LowEntropy(0.99),), (Diverse(),), (LowEntropy(0.99, weighed=False), Novel(0.999))]
MEMORIES = [(), (CategoryBalanced(12, 12),), (PredictionBalanced(12, 12),)]
AFTER = [(), (TowardsStart(0.9),), (ContinualFilter(),), (StochasticRestore(0.1),), (Every(2),)]
RULES = [constant(), SharpnessAware(constant()), Gradient(lr=1e-2, optimiser="sgd", schedule="constant", warmup=0)]


@pytest.mark.parametrize("seed", range(12))
def test_parts_drawn_at_random_make_a_row_that_learns_and_resets(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    statistics, trained, loss, filters, memory, after, rule = (
        each[int(torch.randint(len(each), (), generator=random))]
        for each in (STATISTICS, TRAINED, LOSSES, FILTERS, MEMORIES, AFTER, RULES)
    )
    players = (*memory, EMATeacher(0.9), Views(), *filters, *after)
    with stream(model(), Adaptation({**statistics, **trained}, loss, rule, players), guard=False) as opened:
        beginning = {name: tensor.clone() for name, tensor in opened.adapter.tensors().items()}
        first = torch.cat([opened(batch) for batch in batches(5)])
        assert first.isfinite().all() and not opened.events
        assert not same(beginning, opened.adapter.tensors())
        opened.reset()
        assert same(beginning, opened.adapter.tensors())
        assert torch.equal(torch.cat([opened(batch) for batch in batches(5)]), first)


# What others' code was found to do wrong


def test_a_reset_forgets_the_momentum_and_the_optimiser_asked_for_is_the_one_that_steps() -> None:
    row = recipe("sar", margin=0.99, lr=0.1).adaptation
    with stream(model(), row, guard=False) as opened:
        torch.cat([opened(batch) for batch in batches(3)])
        state = opened.learner.rule.tensors()
        assert any(name.endswith("momentum_buffer") for name in state)
        opened.reset()
        assert set(opened.learner.rule.tensors()) == {"done"}
    by_adam = dataclasses.replace(row, rule=SharpnessAware(constant()))
    with stream(model(), by_adam, guard=False) as opened:
        opened(batches(1)[0])
        assert any(name.endswith("exp_avg_sq") for name in opened.learner.rule.tensors())


def test_a_filtered_models_reset_forgets_its_variance() -> None:
    with stream(model(), recipe("cmf").adaptation, guard=False) as opened:
        opened(batches(1)[0])
        assert opened.learner.snapshot().tensors["player2:variance"] > 0
        opened.reset()
        assert opened.learner.snapshot().tensors["player2:variance"] == 0


@pytest.mark.parametrize("name", ["tent", "eta", "sar", "roid", "rotta"])
def test_a_model_without_norms_is_refused_by_a_sentence_and_left_as_it_was(name: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"norm|BatchStatistics|FollowedStatistics|nothing"):
        stream(net, recipe(name).adaptation)
    assert not adapters(net) and all(type(module).__module__.startswith("torch") for module in net.modules())


@pytest.mark.parametrize("name", ["norm-test", "norm-alpha", "eta", "note", "rotta", "cmf"])
def test_norms_of_one_dimension_are_norms(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    made = recipe(name).adaptation
    players = tuple(p if not isinstance(p, Views) else Views((_noisy,)) for p in made.players)
    with stream(net, dataclasses.replace(made, players=players), guard=False) as opened:
        for number in range(5):
            assert opened(draw(20, 4, seed=number)).isfinite().all()


def _noisy(inputs: Tensor, random: torch.Generator) -> Tensor:
    return inputs + 0.1 * torch.randn(inputs.shape, generator=random)


def test_two_checkpoints_of_one_architecture_have_prototypes_of_their_own() -> None:
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(Prototypes().begin(DigitsNet(), []).vectors)
    assert not torch.equal(*states)
