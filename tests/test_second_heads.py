"""A second head says what its formula says and changes nothing; streams that learn from one resume, reset and stay bounded."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.engine import MethodError, adapters, attach, load
from acclimate.loops import Adaptation, Guard, LoopError, keep_stream, resume_stream, stream, taught_beforehand
from acclimate.losses import (
    CORAL,
    CrossEntropy,
    Diversity,
    Entropy,
    InformationMaximisation,
    LossError,
    MomentDistance,
    OnTarget,
    OnViews,
    PseudoLabel,
    QueueContrast,
    Seen,
    ViewContrast,
    WhichView,
)
from acclimate.methods import BatchStatistics, Full, KeptMoments, LoRA, SecondHead
from acclimate.players import (
    TURNS,
    AgainstSource,
    Blended,
    Confident,
    ContrastingTeacher,
    EMATeacher,
    InStyle,
    MixedSource,
    Player,
    SecondViews,
    Turned,
)
from acclimate.recipes import recipe
from acclimate.rules import Gradient

EASY = Guard(probation=1, drift=1e9, order=1e9, agreement=1e-9)
VIEWS = SecondViews(TURNS, views=4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SOURCE = draw(30, 1, 6, 6, seed=7)


class Net(nn.Sequential):
    acclimate_roles = {"4": "head"}


def model() -> Net:
    torch.manual_seed(0)
    return Net(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4)).eval()


def batches(count: int, rows: int = 20, seed: int = 1) -> list[Tensor]:
    return [*(2 + 3 * draw(count, rows, 1, 6, 6, seed=seed))]


def second(net: nn.Module, width: int = 0) -> nn.Module:
    attach(net, {SecondHead(4, width): "head", KeptMoments(): "head"}, name="second", data=batches(1, 60)[0])
    return net


def constant(lr: float = 1e-2) -> Gradient:
    return Gradient(lr=lr, optimiser="adam", schedule="constant", warmup=0.0, clip=None)


def turns(*more: Player) -> Adaptation:
    method = {BatchStatistics(): "all", Full(): ["0.weight"]}
    return Adaptation(method, WhichView(), constant(), (VIEWS, *more), answer="after")


def contrasted() -> Adaptation:
    made = recipe("adacontrast", lr=1e-2, queue=64, neighbours=3).adaptation
    (teacher,) = made.players
    assert isinstance(teacher, ContrastingTeacher)
    return dataclasses.replace(made, players=(dataclasses.replace(teacher, memory=16),))


ROWS: dict[str, Callable[[], Adaptation]] = {
    "ttt": turns,
    "ttt-plus-plus": lambda: recipe("ttt-plus-plus", queue=30, at=["0.weight"]).adaptation,
    "adacontrast": contrasted,
    "gtta": lambda: recipe("gtta", inputs=SOURCE, labels=torch.arange(30) % 4).adaptation,
}
rows = pytest.mark.parametrize("name", ROWS)
guards = pytest.mark.parametrize("guard", [False, EASY], ids=["plain", "guarded"])


@pytest.mark.parametrize("width", [0, 5])
@pytest.mark.parametrize("at", ["head", "0"])
def test_it_says_its_formula_and_leaves_the_answer_to_the_bit(at: str, width: int) -> None:
    net, x = model(), batches(1)[0]
    before = net(x)
    adapter = attach(net, SecondHead(3, width), at=at, name="second")
    (_, module), said = next(iter(adapter.modules())), []
    module.answer.register_forward_hook(lambda _, given, gave: said.append(gave))
    assert torch.equal(net(x), before)
    h = net[:4](x) if at == "head" else net[0](x).mean((2, 3))
    h = F.relu(h @ module.hidden.T + module.threshold) if width else h
    torch.testing.assert_close(said[0], h @ module.matrix.T + module.offset)


def test_which_view_is_cross_entropy_with_the_views_number() -> None:
    views = draw(5, 3, 4)
    seen = Seen(None, None, draw(5, 2), features={"views": views})
    expected = F.cross_entropy(views.flatten(0, 1), torch.arange(3).repeat(5))
    torch.testing.assert_close(WhichView()(seen), expected)
    with pytest.raises(LossError, match="outputs=4"):
        WhichView()(Seen(None, None, draw(2, 2), features={"views": draw(2, 4, 3)}))


def test_turns_are_quarters_and_four_of_them_are_none() -> None:
    x, random = draw(2, 1, 5, 5), torch.Generator()
    once = Turned(1)(x, random)
    assert torch.equal(once[0, 0, 4], x[0, 0, :, 0]) and torch.equal(Turned(3)(once, random), x)


def test_views_are_heard_of_the_head_alone_and_it_is_held() -> None:
    net, x = second(model()), batches(1)[0]
    inner = attach(net, LoRA(rank=2), at=["0.weight"], name="inner")
    looked = Seen(x, None, net(x))
    state = VIEWS.begin(net, list(inner.named_parameters()))
    state.look(looked)
    views = looked.features["views"]
    assert views.shape == (20, 4, 4)
    head = next(iter(adapters(net)["second"].modules()))[1]
    for number, turn in enumerate(TURNS):
        expected = net[:4](turn(x, torch.Generator())) @ head.matrix.T + head.offset
        torch.testing.assert_close(views[:, number], expected)
    WhichView()(looked).backward()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in head.parameters())
    assert any(parameter.grad is not None for parameter in inner.parameters())
    with torch.no_grad():
        quiet = Seen(x, None, net(x))
        state.look(quiet)
    assert not quiet.features
    with pytest.raises(ValueError, match="taught_beforehand"):
        VIEWS.begin(model(), [])


def test_it_is_taught_beforehand_saved_and_loaded(tmp_path: Path) -> None:
    net, x = model(), batches(1, 64)[0]
    x[:, :, :3] += 4.0  # the way up shows
    base = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    adapter = taught_beforehand(net, x, {SecondHead(4): "head"}, WhichView(), (VIEWS,), epochs=20, rule=constant())
    looked = Seen(x, None, net(x))
    VIEWS.begin(net, []).look(looked)
    assert (looked.features["views"].argmax(2) == torch.arange(4)).double().mean() > 0.8
    now = net.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in base.items())
    with pytest.raises(LoopError, match="'second' is enabled"):
        taught_beforehand(net, x, {SecondHead(4): "head"}, WhichView(), (VIEWS,), name="third")
    path = adapter.save(tmp_path / "second")
    other = model()
    loaded = load(other, path)
    again = Seen(x, None, other(x))
    VIEWS.begin(other, []).look(again)
    assert torch.equal(again.features["views"], looked.features["views"])
    assert [type(module.method) for _, module in loaded.modules()] == [SecondHead]


def test_what_teaches_nothing_or_cannot_be_is_refused() -> None:
    net = model()
    with pytest.raises(LoopError, match="taught nothing"):
        taught_beforehand(net, batches(1)[0], {SecondHead(4): "head"}, 0.0 * WhichView(), (VIEWS,))
    assert not list(adapters(net))
    with pytest.raises(MethodError, match="width"):
        SecondHead(width=-1)


def test_losses_on_views_and_diversity_are_their_formulas() -> None:
    z, views = draw(6, 4), draw(6, 3, 4, seed=1)
    seen = Seen(None, None, z, features={"views": views}, teacher=draw(6, 4, seed=2))
    torch.testing.assert_close(Entropy()(seen) + Diversity()(seen), InformationMaximisation()(seen))
    mean = views.softmax(2).mean(0)  # (views, classes)
    torch.testing.assert_close(OnViews(Diversity())(seen), -torch.special.entr(mean).sum(1).mean())
    label = seen.teacher.argmax(1).repeat_interleave(3)
    torch.testing.assert_close(OnViews(PseudoLabel(of="teacher"))(seen), F.cross_entropy(views.flatten(0, 1), label))


def test_contrast_of_views_is_its_formula() -> None:
    views = draw(3, 2, 5)
    z, total = F.normalize(views, dim=2).flatten(0, 1), torch.zeros(())
    for i in range(6):
        there = torch.stack([(z[i] @ z[j] / 0.5).exp() for j in range(6) if j != i]).sum()
        total = total - ((z[i] @ z[i ^ 1] / 0.5).exp() / there).log() / 6
    torch.testing.assert_close(ViewContrast()(Seen(None, None, draw(3, 2), features={"views": views})), total)
    with pytest.raises(LossError, match="views=2"):
        ViewContrast()(Seen(None, None, draw(3, 2), features={"views": views[:, :1]}))


def test_moments_are_kept_and_stand_for_the_source(tmp_path: Path) -> None:
    net, x = second(model()), batches(1, 60)[0]
    h = net[:4](x).detach()
    state = AgainstSource(queue=30).begin(net, [])
    held = torch.zeros(0, 96)
    for y in batches(2, seed=5):
        f = net[:4](y).detach().requires_grad_()
        looked = Seen(y, None, net(y), features={"penultimate": f})
        state.look(looked)
        both = torch.cat([f, held])
        apart = (both.mean(0) - h.mean(0)).square().mean() + (both.T.cov() - h.T.cov()).square().mean()
        torch.testing.assert_close(MomentDistance()(looked), apart, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            CORAL()(looked), (both.T.cov() - h.T.cov()).square().mean() / 4, rtol=1e-3, atol=1e-4
        )
        assert torch.autograd.grad(MomentDistance()(looked), f)[0].abs().max() > 0
        state.learn()
        held = torch.cat([held, f.detach()])[-30:]
    assert torch.equal(state.tensors()["held"], held)
    state.reset()
    assert not len(state.tensors()["held"])
    other = model()
    load(other, adapters(net)["second"].save(tmp_path / "second"))
    (kept,) = (m for _, m in adapters(other)["second"].modules() if isinstance(m.method, KeptMoments))
    torch.testing.assert_close(kept.mean, h.mean(0))
    with pytest.raises(ValueError, match="attach KeptMoments"):
        AgainstSource().begin(model(), [])
    with pytest.raises(LossError, match="MomentDistance"):
        state.look(Seen(x, None, net(x)))
    with pytest.raises(MethodError, match="linear"):
        attach(model(), KeptMoments(), at="0", data=x)


def test_source_rows_are_mixed_with_the_rows_most_like_them() -> None:
    net, labels = model(), torch.arange(30) % 4
    attach(net, Full(), at=["0.weight"], name="inner")
    x, random = batches(1)[0], torch.Generator().manual_seed(0)
    state = MixedSource(SOURCE, labels, Blended(0.25)).begin(net, [])
    for _ in range(2):
        looked = Seen(x, None, net(x))
        before = state.tensors()
        state.look(looked)
        drawn = torch.randint(30, (20,), generator=random)
        near = (net(SOURCE[drawn]).softmax(1) @ net(x).softmax(1).mT).argmax(1)
        mixed = 0.75 * SOURCE[drawn] + 0.25 * x[near]
        assert looked.target is not None and torch.equal(looked.target.labels, labels[drawn])
        torch.testing.assert_close(looked.target.inputs, mixed)
        torch.testing.assert_close(
            OnTarget(CrossEntropy())(looked), F.cross_entropy(net(mixed), labels[drawn]), rtol=1e-4, atol=1e-5
        )
    state.restore(before)
    state.look(looked)
    torch.testing.assert_close(looked.target.inputs, mixed)
    styled = InStyle()(SOURCE[:2], x[:2]).flatten(2)
    torch.testing.assert_close(styled.mean(2), x[:2].flatten(2).mean(2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(styled.std(2), x[:2].flatten(2).std(2))
    with pytest.raises(ValueError, match="give inputs"):
        MixedSource().begin(net, [])
    with pytest.raises(LossError, match="give both alike"):
        state.look(Seen(x[..., :5], None, net(x)))


def test_rows_teach_that_are_surer_than_usual() -> None:
    state, usual = Confident(decay=0.5, first=0.4).begin(model(), []), 0.4
    for seed in range(3):
        looked = Seen(None, None, 2 * draw(8, 4, seed=seed))
        sure = looked.logits.softmax(1).amax(1)
        usual = 0.5 * usual + 0.5 * float(sure.mean())
        kept = state.tensors()
        state.look(looked)
        assert torch.equal(looked.weights, (sure >= min(usual**0.5, float(sure.max()))).float())
    state.restore(kept)
    state.look(looked)
    assert float(state.tensors()["usual"]) == pytest.approx(usual)
    state.reset()
    assert float(state.tensors()["usual"]) == 0.4
    with pytest.raises(ValueError, match="decay"):
        Confident(decay=1.0)


def test_views_are_contrasted_with_the_last_keys_of_other_classes() -> None:
    net, same = model(), lambda x, random: x
    adapter = attach(net, Full(), at=["0.weight"], name="inner")
    player = ContrastingTeacher(EMATeacher(1.0), same, neighbours=1, memory=99, queue=30)
    state = player.begin(net, list(adapter.named_parameters()))
    keys, labels = torch.zeros(0, 96), torch.zeros(0, dtype=torch.long)
    for x in batches(3):
        f = F.normalize(net[:4](x), dim=1)
        own = net(x).argmax(1)
        looked = Seen(x, None, net(x))
        state.look(looked)
        assert looked.teacher is not None and torch.equal(looked.teacher.argmax(1), own)  # a row is its own neighbour
        others = (f @ keys.T).masked_fill(own[:, None] == labels, -torch.inf)
        alike = torch.cat([torch.ones(20, 1), others], 1)
        torch.testing.assert_close(looked.features["contrast"], alike)
        torch.testing.assert_close(
            QueueContrast(0.5)(looked), F.cross_entropy(alike / 0.5, torch.zeros(20, dtype=torch.long))
        )
        state.learn()
        keys, labels = torch.cat([keys, f.detach()])[-30:], torch.cat([labels, own])[-30:]
    kept = state.tensors()
    torch.testing.assert_close(kept["keys"], keys)
    assert torch.equal(kept["labels"], labels)
    state.reset()
    assert not len(state.tensors()["keys"])
    state.restore(kept)
    assert torch.equal(state.tensors()["keys"], kept["keys"])
    with pytest.raises(LossError, match="ContrastingTeacher"):
        QueueContrast()(Seen(None, None, draw(2, 2), features={"views": draw(2, 1, 2)}))
    with pytest.raises(ValueError, match="queue"):
        ContrastingTeacher(queue=0)


@rows
@guards
def test_a_stream_goes_on_resets_and_closes_to_the_bit(name: str, guard: bool | Guard, tmp_path: Path) -> None:
    inputs = batches(8)
    net = second(model())
    held = {n: t.clone() for n, t in (*net.named_parameters(), *net.named_buffers())}
    with stream(net, ROWS[name](), guard=guard, seed=3) as whole:
        expected = [whole(batch) for batch in inputs]
        assert whole.learner.updates and whole.learner.moved > 0
        tensors = {n: t.clone() for n, t in whole.adapter.tensors().items()}
        whole.reset()
        assert all(torch.equal(whole(batch), was) for batch, was in zip(inputs, expected, strict=True))
    assert all(torch.equal(t, held[n]) for n, t in (*net.named_parameters(), *net.named_buffers()))
    assert list(adapters(net)) == ["second"]
    with stream(second(model()), ROWS[name](), guard=guard, seed=3) as killed:
        for batch in inputs[:4]:
            killed(batch)
        keep_stream(killed, tmp_path)
    torch.manual_seed(9)
    with stream(second(model()), ROWS[name](), guard=guard, seed=3) as again:
        assert resume_stream(again, tmp_path) == 80
        assert all(torch.equal(again(batch), was) for batch, was in zip(inputs[4:], expected[4:], strict=True))
        assert all(torch.equal(t, tensors[n]) for n, t in again.adapter.tensors().items())


def held_bytes() -> int:
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) in (Tensor, nn.Parameter)]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@rows
def test_its_memory_is_bounded(name: str) -> None:
    kept = []
    with stream(second(model()), ROWS[name](), guard=Guard(probation=1)) as live:
        for _ in range(2):
            for batch in batches(20, 40):
                live(batch)
            kept.append(held_bytes())
    assert kept[1] <= kept[0] + 4096
