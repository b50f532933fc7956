"""The laws of a stream: it resets and closes to the bit, is bounded, and never touches the model."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from acclimate.engine import adapters, attach
from acclimate.loops.adaptation import Adaptation
from acclimate.loops.guard import Guard
from acclimate.loops.loop import LoopError
from acclimate.loops.stream import Stream, stream
from acclimate.losses import Alignment, Consistency, CrossEntropy, Entropy, PrototypeContrast, Sum
from acclimate.losses.loss import Loss, Seen
from acclimate.methods import (
    LAME,
    Affine,
    BatchStatistics,
    ErrorMemory,
    FollowedStatistics,
    Full,
    LoRA,
    UnmixedStatistics,
    ViDA,
)
from acclimate.players import (
    FollowedFeatures,
    ImageAugmentation,
    LowEntropy,
    NeighbourTeacher,
    Player,
    PlayerState,
    Prototypes,
    RankShares,
)
from acclimate.players.ema_teacher import EMATeacher
from acclimate.players.resets import Every, LowLoss
from acclimate.players.stochastic_restore import StochasticRestore
from acclimate.recipes import recipe
from acclimate.recipes.streams.peers import PEERS
from acclimate.rules import Gradient, SampledBlocks


class Poisoned(Loss):
    """Entropy, and from the third look on no number."""

    at: int = 2

    def __call__(self, seen: Seen) -> Tensor:
        LOOKS.append(1)
        return Entropy()(seen) * (float("nan") if len(LOOKS) > self.at else 1.0)


LOOKS: list[int] = []


def constant(lr: float = 1e-2) -> Gradient:
    return Gradient(lr=lr, optimiser="adam", schedule="constant", warmup=0.0, clip=None)


ROWS: dict[str, Callable[[], Adaptation]] = {
    "statistics": lambda: Adaptation({BatchStatistics(): "all"}),
    "tent": lambda: Adaptation({BatchStatistics(): "all", Affine(): "norm"}, Entropy(), constant()),
    "tent after, two steps": lambda: Adaptation({Affine(): "norm"}, Entropy(), constant(), steps=2, answer="after"),
    "tent on LoRA, filtered": lambda: Adaptation(
        {LoRA(rank=2): ["2.weight"]}, Entropy(), constant(), (LowEntropy(margin=0.99),)
    ),
    "anew each third": lambda: Adaptation({Affine(): "norm"}, Entropy(), constant(), (Every(3),)),
    "followed statistics": lambda: Adaptation({FollowedStatistics(momentum=0.3): "all"}),
    "unmixed statistics": lambda: Adaptation({UnmixedStatistics(components=3): "all"}),
    "a block a step": lambda: Adaptation(
        {BatchStatistics(): "all", Affine(): "norm"}, Entropy(), SampledBlocks(constant(), blocks=2)
    ),
    "vida": lambda: Adaptation(
        {BatchStatistics(): "all", ViDA(high=2): ["6.weight"]},
        Consistency(),
        constant(),
        (RankShares(EMATeacher(0.9), ImageAugmentation(), views=2),),
        answer="teacher",
    ),
    "aligned": lambda: Adaptation({Affine(): "norm"}, Alignment(), constant(), (FollowedFeatures(),)),
    "lame": lambda: Adaptation({LAME(): "6"}),
    "error memory": lambda: Adaptation({ErrorMemory(size=8): "6"}),
    "cotta": lambda: Adaptation(
        {Full(): "all", BatchStatistics(): "all"},
        Consistency(),
        constant(),
        (EMATeacher(0.9), StochasticRestore(0.05)),
        answer="teacher",
    ),
}
CHEAP = {"views": 2, "capacity": 16, "patches": 2, "most": 4, "margin": 0.99, "novelty": 0.99, "loss": -0.5}
"""Settings for networks this small, whose answers are unsure: filters let rows through, and nothing is asked of a named head."""


def suite(name: str) -> Adaptation:
    """A recipe of the suites on the tiny model, whose head is its last layer."""
    each = recipe(name)
    made = each.using(**{key: value for key, value in CHEAP.items() if key in each.defaults}).adaptation
    method = {m: "6" if at == "head" else at for m, at in made.method.items()}
    terms = (
        ()
        if made.loss is None
        else tuple(term for term in made.loss.terms() if not isinstance(term[1], PrototypeContrast))
    )
    players = tuple(player for player in made.players if not isinstance(player, Prototypes))
    return dataclasses.replace(made, method=method, loss=Sum(terms) if terms else None, players=players)


PREPARED = {"adacontrast", "gtta", "ttt", "ttt-plus-plus"}
"""Rows that need a head, rows of the source or what was taught beforehand, with these laws in test_second_heads.py."""
ROWS |= {
    peer.ours: functools.partial(suite, peer.ours) for peer in PEERS if peer.ours not in ("", *ROWS, "tent", *PREPARED)
}
LEARNING = [name for name, row in ROWS.items() if row().loss is not None]
every = pytest.mark.parametrize("name", ROWS)
learning = pytest.mark.parametrize("name", LEARNING)
either = pytest.mark.parametrize("guard", [False, True, Guard(probation=1, drift=1e9, order=1e9, agreement=1e-9)])


def model() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(32, 4),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(64, 1, 6, 6))
    return net


def batches(count: int = 6, rows: int = 20, seed: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [2 + 3 * torch.randn(rows, 1, 6, 6, generator=generator) for _ in range(count)]


def everything(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in (*net.named_parameters(), *net.named_buffers())}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def answers(opened: Stream, inputs: list[Tensor]) -> Tensor:
    return torch.cat([opened(batch) for batch in inputs])


def frozen(net: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(net).eval()(inputs)


@every
@either
def test_reset_is_exact(name: str, guard: bool | Guard) -> None:
    with stream(model(), ROWS[name](), guard=guard, seed=3) as opened:
        beginning = {n: t.clone() for n, t in opened.adapter.tensors().items()}
        first, events = answers(opened, batches()), opened.events
        opened.feedback([0, 1], [0, 1])
        opened.reset()
        assert same(beginning, opened.adapter.tensors())
        assert opened.events == [] and opened.step == 0 and len(opened.window) == 0
        assert torch.equal(answers(opened, batches()), first)
        assert opened.events == events


@learning
def test_it_learns(name: str) -> None:
    with stream(model(), ROWS[name](), guard=False) as opened:
        answers(opened, batches())
        assert opened.learner.updates == {"anew each third": 3, "memo": 1}.get(name, 6 * opened.row.steps)
        assert opened.learner.moved > 0


@every
@either
def test_close_leaves_the_model_exact(name: str, guard: bool | Guard) -> None:
    net = model()
    net[5].training = False  # a mode of its own
    before, modes = everything(net), [m.training for m in net.modules()]
    types, grads = [type(m) for m in net.modules()], [p.requires_grad for p in net.parameters()]
    hooks = [(dict(m._forward_pre_hooks), dict(m._forward_hooks)) for m in net.modules()]
    with stream(net, ROWS[name](), guard=guard) as opened:
        answers(opened, batches())
        during = everything(net)
        assert all(torch.equal(during[n], before[n]) for n in before)
        assert list(adapters(net)) == ["stream"]
    assert same(everything(net), before)
    assert [m.training for m in net.modules()] == modes
    assert [type(m) for m in net.modules()] == types
    assert [p.requires_grad for p in net.parameters()] == grads
    assert [(dict(m._forward_pre_hooks), dict(m._forward_hooks)) for m in net.modules()] == hooks
    opened.close()
    with pytest.raises(LoopError, match="closed"):
        opened(batches()[0])


@every
def test_seeds_reproduce_and_the_global_random_state_stays(name: str) -> None:
    found = []
    for noise in (0, 1):
        net = model()
        torch.manual_seed(noise)
        state = torch.get_rng_state()
        with stream(net, ROWS[name](), guard=False, seed=5) as opened:
            found.append(answers(opened, batches()))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*found)


def held() -> int:
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) in (Tensor, torch.nn.Parameter)]  # no fakes of a compiler
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


@every
@pytest.mark.parametrize("rows", [1, 40])
def test_memory_is_bounded(name: str, rows: int) -> None:
    kept = []
    trusting = Guard(probation=1, drift=1e9, order=1e9)
    with stream(model(), ROWS[name](), guard=trusting, window=8 if rows == 1 else None) as opened:
        for count in (400, 600) if rows == 1 else (25, 15):
            answers(opened, batches(count, rows))
            kept.append((held(), len(opened.recall.held), len(opened.window)))
    (early, *counts), (late, *later) = kept
    assert counts == later
    assert late <= early + 4096  # two snapshots may come; 600 rows more would be 86 kB


def test_events_are_bounded() -> None:
    with stream(model(), ROWS["tent"]()) as opened:
        for _ in range(300):
            opened(torch.full((20, 1, 6, 6), float("nan")))
        assert len(opened.events) == 256
        assert opened.events[-1].step == 299


@every
def test_single_samples_see_their_neighbours(name: str) -> None:
    inputs = torch.cat(batches(4, 10))
    with stream(model(), ROWS[name](), guard=False, window=20) as opened:
        single = torch.cat([opened(row[None]) for row in inputs])
        assert opened.learner.updates == ({"memo": 1}.get(name, 2 * opened.row.steps) if name in LEARNING else 0)
    assert torch.equal(single[:19], torch.cat([frozen(model(), row[None]) for row in inputs[:19]]))
    with stream(model(), ROWS[name](), guard=False) as opened:
        whole = opened(inputs[:20])
    assert torch.allclose(single[19], whole[-1], atol=1e-5)


@every
def test_a_small_last_batch_is_filled_from_the_window(name: str) -> None:
    with stream(model(), ROWS[name](), guard=False) as opened:
        answers(opened, batches(4))
        assert opened(torch.zeros(3, 1, 6, 6)).shape == (3, 4)


def test_guard_off_is_the_plain_method() -> None:
    """Tent, written out: batch statistics, entropy, one step of Adam on the affine parameters, the answer before it."""
    net = model().eval()
    norms = [m for m in net if isinstance(m, nn.BatchNorm2d)]
    with stream(copy.deepcopy(net), ROWS["tent"](), guard=False) as opened:
        ours = answers(opened, batches())
    for norm in norms:
        norm.training, norm.track_running_stats, norm.running_mean, norm.running_var = True, False, None, None
    parameters = [p for norm in norms for p in norm.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    theirs = []
    for batch in batches():
        logits = net(batch)
        loss = torch.special.entr(logits.softmax(-1)).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        theirs.append(logits.detach())
    assert torch.allclose(ours, torch.cat(theirs), atol=1e-4)


@every
def test_on_probation_the_frozen_model_answers(name: str) -> None:
    with stream(model(), ROWS[name](), guard=Guard(probation=10**6)) as opened:
        for batch in batches():
            assert torch.equal(opened(batch), frozen(model(), batch))
        assert not opened.trusted and opened.learner.updates == 0


@every
@either
def test_inputs_that_are_no_numbers(name: str, guard: bool | Guard) -> None:
    with stream(model(), ROWS[name](), guard=guard) as opened, stream(model(), ROWS[name](), guard=guard) as clean:
        for number, batch in enumerate(batches()):
            if number == 3:
                bad = batch.clone()
                bad[2] = float("inf")
                answer = opened(bad)
                assert torch.equal(answer[3:], frozen(model(), bad)[3:])
                assert opened.events[-1].kind == "non-finite" and opened.events[-1].sign == "inputs"
            assert torch.equal(opened(batch), clean(batch))


@pytest.mark.parametrize("guard", [False, True])
def test_a_loss_that_is_no_number_rolls_back(guard: bool) -> None:
    LOOKS.clear()
    row = Adaptation({BatchStatistics(): "all", Affine(): "norm"}, Poisoned(), constant())
    settings: bool | Guard = Guard(probation=1, drift=1e9, order=1e9, agreement=1e-9) if guard else False
    with stream(model(), row, guard=settings) as opened:
        beginning = {n: t.clone() for n, t in opened.adapter.tensors().items()}
        found = [opened(batch) for batch in batches(8)]
        broken = [event for event in opened.events if event.kind == "non-finite"]
        assert broken and broken[0].sign == "loss"
        assert same(beginning, opened.adapter.tensors())
        step = broken[0].step
        assert torch.equal(found[step], frozen(model(), batches(8)[step]))


class Explosive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x)) / (self.norm.weight == 1).all()


@pytest.mark.parametrize("guard", [False, True])
def test_logits_that_are_no_numbers_roll_back(guard: bool) -> None:
    """The model divides by zero as soon as its norm has moved."""
    row = Adaptation({Affine(): "norm"}, Entropy(), constant())
    torch.manual_seed(0)
    inputs = torch.randn(20, 4)
    settings = Guard(probation=1, drift=1e9, order=1e9) if guard else False
    with stream(Explosive(), row, guard=settings) as opened:
        found = [opened(inputs) for _ in range(4)]
        assert all(torch.equal(found[0], each) and bool(each.isfinite().all()) for each in found)
        assert opened.learner.updates == 0
        assert opened.events[-1].sign == "logits"
        assert opened.learner.moved == 0


@pytest.mark.parametrize("empty", [torch.zeros(0, 1, 6, 6), torch.tensor(1.0)])
def test_an_empty_batch_is_refused(empty: Tensor) -> None:
    with stream(model(), ROWS["tent"]()) as opened, pytest.raises(LoopError, match="the batch is empty"):
        opened(empty)


def test_an_empty_stream_is_refused() -> None:
    with stream(model(), ROWS["tent"]()) as opened:
        assert len(list(opened.over(batches(2)))) == 2
        with pytest.raises(LoopError, match="the stream is empty"):
            list(opened.over([]))


WRONG = {
    "no method": (lambda: Adaptation({}), "no method"),
    "a loss alone": (lambda: Adaptation({Affine(): "norm"}, Entropy()), "no rule"),
    "a rule alone": (lambda: Adaptation({Affine(): "norm"}, None, constant()), "no loss"),
    "no teacher": (lambda: Adaptation({Affine(): "norm"}, Consistency(), constant()), "needs teacher"),
    "no teacher to answer": (
        lambda: Adaptation({Affine(): "norm"}, Entropy(), constant(), answer="teacher"),
        "needs a teacher",
    ),
    "a schedule": (lambda: Adaptation({Affine(): "norm"}, Entropy(), Gradient()), "no end"),
    "no step": (lambda: Adaptation({Affine(): "norm"}, Entropy(), constant(), steps=0), "steps=0"),
    "a threshold": (lambda: Guard(drift=0), "drift=0"),
    "no adaptation": (lambda: stream(model(), "tent"), "needs an Adaptation"),
    "a window of one": (lambda: stream(model(), ROWS["tent"](), window=1), "window=1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_refused(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(LoopError, match=message):
        make()


def test_a_refused_name_leaves_the_model_as_it_was() -> None:
    net = model()
    with stream(net, ROWS["tent"]()) as opened:
        with pytest.raises(ValueError, match="already"):
            stream(net, ROWS["tent"]())
        assert not opened.closed
    assert len(adapters(net)) == 0


def test_other_adapters_of_the_model_stay_in_force() -> None:
    net = model()
    other = attach(net, LoRA(rank=2), at="2.weight", name="other")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.3)
    net.eval()
    with torch.no_grad():
        expected = net(batches()[0])
    with stream(net, ROWS["tent"](), guard=Guard(probation=10**6)) as opened:
        assert torch.equal(opened(batches()[0]), expected)
    assert list(adapters(net)) == ["other"]


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = model()

    def forward(self, pixels: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(pixels * scale)}


@pytest.mark.parametrize("rows", [1, 20])
def test_inputs_may_be_mappings_and_tuples(rows: int) -> None:
    found = []
    for shape in (lambda x, s: {"pixels": x, "scale": s}, lambda x, s: (x, s)):
        with stream(Named(), ROWS["tent"](), guard=False, window=4) as opened:
            scale = torch.ones(rows, 1, 1, 1)
            found.append(torch.cat([opened(shape(batch, scale)) for batch in batches(8, rows)]))
    assert torch.equal(*found)


def test_a_recipe_is_unwrapped() -> None:
    class Recipe:
        adaptation = ROWS["tent"]()

    with stream(model(), Recipe(), guard=False) as opened:
        assert opened(batches()[0]).shape == (20, 4)


def test_feedback_names_rows_by_number() -> None:
    with stream(model(), ROWS["tent"](), guard=False) as opened:
        answers(opened, batches(30))
        assert opened.feedback([599, 598], [0, 1]) == 2
        assert opened.feedback([0], [0]) == 0  # forgotten
        with pytest.raises(LoopError, match="row 600 was never answered"):
            opened.feedback([600], [0])
        with pytest.raises(LoopError, match="one label for each id"):
            opened.feedback([1, 2], [0])


@pytest.mark.parametrize("lies", [False, True])
def test_late_labels_decide_about_trust(lies: bool) -> None:
    """Labels that side with the frozen model end trust, those that side with the adapted one give it."""
    patient = Guard(probation=10**6) if not lies else Guard(probation=1, drift=1e9, order=1e9, agreement=1e-9)
    with stream(model(), ROWS["statistics"](), guard=patient) as opened:
        shown = [-4 * batch + 9 for batch in batches(4)]
        answers(opened, shown)
        assert opened.trusted is lies
        if lies:
            labels = torch.cat([frozen(model(), batch).argmax(-1) for batch in shown])
        else:
            with stream(model(), ROWS["statistics"](), guard=False) as plain:
                labels = answers(plain, shown).argmax(-1)
        assert opened.feedback(range(80), labels) == 80
        assert opened.trusted is not lies
        assert opened.events[-1].sign == "labels" and "labelled rows" in opened.events[-1].why


def test_every_starts_anew_before_the_next_batch() -> None:
    """The fourth batch is answered as the first was, and the third not."""
    same_batch = batches(1) * 4
    with stream(model(), ROWS["anew each third"](), guard=False) as opened:
        first, _, third, fourth = (opened(batch) for batch in same_batch)
    assert torch.equal(first, fourth) and not torch.equal(first, third)


def test_a_loss_that_stays_low_starts_anew() -> None:
    state = LowLoss(floor=0.2, decay=0.5).begin(model(), [])
    assert [state.over(loss) for loss in (1.0, 0.0, 0.0, 0.0)] == [False, False, False, True]
    kept = state.tensors()
    state.reset()
    assert not state.over(0.3)
    state.restore(kept)
    assert state.over(0.0)


def test_followed_statistics_are_the_running_average_of_what_passed() -> None:
    net, inputs = model(), batches(3)
    mean = net[1].running_mean.clone()
    with torch.no_grad():
        for batch in inputs:
            mean = 0.7 * mean + 0.3 * net[0](batch).mean((0, 2, 3))
    with stream(net, ROWS["followed statistics"](), guard=False) as opened:
        before = answers(opened, inputs[:1])
        answers(opened, inputs[1:])
        assert torch.allclose(opened.adapter.tensors()["0/1()/mean"], mean, atol=1e-5)
        assert not torch.allclose(opened(inputs[0]), before)
    assert torch.allclose(before, frozen(net, inputs[0]), atol=1e-4)


def test_a_row_without_weight_teaches_nothing_and_one_of_half_weight_half() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    seen = Seen(None, None, logits)
    seen.weigh(torch.tensor([1.0, 1.0, 0.0, 0.0]))
    seen.weigh(torch.tensor([0.5, 1.0, 1.0, 0.0]))
    each = [Entropy()(Seen(None, None, row[None])) for row in logits]
    assert torch.allclose(Entropy()(seen), (0.5 * each[0] + each[1]) / 4)


class _Held(PlayerState):
    """Holds batches back, and then gives two as one."""

    def __init__(self) -> None:
        self.held: list[Tensor] = []

    def practise(self, inputs: Tensor, logits: Tensor) -> Tensor | None:
        self.held.append(inputs)
        return torch.cat(self.held[-2:]) if len(self.held) % 2 == 0 else None


class Held(Player):
    remembers = True

    def begin(self, model: nn.Module, named: list[tuple[str, nn.Parameter]]) -> _Held:
        return _Held()


def test_a_memory_is_learned_from_in_place_of_what_came() -> None:
    inputs = batches(4)
    with stream(model(), Adaptation({Affine(): "norm"}, Entropy(), constant(), (Held(),)), guard=False) as opened:
        answers(opened, inputs)
        assert opened.learner.updates == 2
        held = opened.adapter.tensors()
        with stream(model(), Adaptation({Affine(): "norm"}, Entropy(), constant()), guard=False) as plain:
            answers(plain, [torch.cat(inputs[:2]), torch.cat(inputs[2:])])
            assert same(held, plain.adapter.tensors())


def test_late_labels_teach_the_rows_they_are_for() -> None:
    row = Adaptation({Affine(): "norm"}, None, constant(), taught=CrossEntropy())
    inputs, truth = batches(1)[0], torch.tensor([3, 1])
    with stream(model(), row, guard=False) as opened:
        before = opened(inputs)[[4, 9]]
        assert opened.learner.moved == 0
        for _ in range(20):
            assert opened.feedback([4, 9], truth) == 2
        after = opened(inputs)[[4, 9]]
    chosen = [z.softmax(-1)[[0, 1], truth] for z in (before, after)]
    assert bool((chosen[1] > chosen[0]).all())


def test_unmixed_statistics_are_the_paper_s_formula() -> None:
    """Each row by itself, written out; and one component that brings nothing is the source's."""
    net, x = model().eval(), batches(1)[0]
    for settings in ({"components": 3}, {"components": 1, "own": 0.0}):
        adapter = attach(net, UnmixedStatistics(**settings), at="1", name="unmixed")
        mean, var = (adapter.tensors()[f"0/1()/{name}"].clone() for name in ("mean", "var"))
        with torch.no_grad():
            h = net[0](x)
            found, norm, expected = net[1](h), net[1], []
            for row in h:
                m, v = row.mean((1, 2)), row.var((1, 2), correction=0)
                p = (nn.functional.cosine_similarity(m[None], mean) / 0.07).softmax(0)[:, None] * settings.get(
                    "own", 1.0
                )
                mu, sigma = (1 - p) * mean + p * m, (1 - p) * var + p * v
                centre = mu.mean(0)
                spread = sigma.mean(0) + mu.square().mean(0) - centre.square()
                z = (row - centre[:, None, None]) / (spread + norm.eps).sqrt()[:, None, None]
                expected.append(z * norm.weight[:, None, None] + norm.bias[:, None, None])
            adapter.detach()
            assert torch.allclose(found, torch.stack(expected), atol=1e-4)
    assert torch.allclose(found, net[1](h), atol=1e-4)


def test_shares_turn_where_the_teacher_is_unsure() -> None:
    for threshold, low in ((1.0, True), (0.0, False)):
        player = RankShares(EMATeacher(0.9), views=2, threshold=threshold)
        with stream(
            model(), Adaptation({ViDA(high=4): "all"}, Consistency(), constant(), (player,)), guard=False
        ) as opened:
            answers(opened, batches(1))
            shares = next(t for n, t in opened.adapter.tensors().items() if n.endswith("shares"))
            assert (float(shares[0]) > float(shares[1])) is low and float(shares.sum()) == pytest.approx(2)


def test_a_teacher_asks_its_neighbours_and_remembers_the_last_of_each_class() -> None:
    class Net(nn.Module):
        acclimate_roles = {"fc": "head"}

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.fc(x)
            return out

    torch.manual_seed(0)
    net, random = Net(), torch.Generator().manual_seed(1)
    adapter = attach(net, Full(), at="all")
    named = [(name, parameter) for name, parameter, _ in adapter.rated()]
    state = NeighbourTeacher(EMATeacher(1.0), views=1, neighbours=2, memory=3).begin(net, named)
    held: list[tuple[Tensor, Tensor]] = []
    for _ in range(4):
        x = torch.randn(5, 3, generator=random)
        before = state.tensors()
        q = state.answer(x).softmax(1)
        with torch.no_grad():
            held += zip(x, net(x).softmax(1), strict=True)
        of_class = [[pair for pair in held if int(pair[1].argmax()) == c][-3:] for c in range(3)]
        held = [pair for pair in held if any(pair is kept for kept in of_class[int(pair[1].argmax())])]
        alike = nn.functional.cosine_similarity(x[:, None], torch.stack([f for f, _ in held])[None], dim=2)
        said = torch.stack([t for _, t in held])
        assert torch.allclose(q, said[alike.topk(2, 1).indices].mean(1), atol=1e-5)
        after = state.tensors()
        state.restore(before)
        assert torch.equal(state.answer(x).softmax(1), q) and same(after, state.tensors())
    assert len(held) <= 9
    state.reset()
    assert state.tensors()["said"].numel() == 0


def test_followed_features_are_a_running_average_and_align_with_the_source() -> None:
    net, (first, second) = model().eval(), batches(2)
    state = FollowedFeatures(at="norm", momentum=0.3).begin(net, [])
    start = state.tensors()
    norm = net[1]
    with torch.no_grad():
        assert torch.allclose(start["source/1"][0], norm.bias)
        held, source = start["held/1"].clone(), start["source/1"]
        for batch in (first, second):
            y = norm(net[0](batch))
            held = 0.7 * held + 0.3 * torch.stack([y.mean((0, 2, 3)), y.var((0, 2, 3), correction=0)])
            seen = Seen(batch, y, torch.zeros(20, 4), features={"each:norm/1": y})
            state.look(seen)
            expected = (held - source).abs().mean(1).sum()
            assert torch.allclose(Alignment()(seen), expected, rtol=1e-4)
            state.learn()
    kept = state.tensors()
    assert torch.allclose(kept["held/1"], held, rtol=1e-4)
    state.reset()
    assert same(state.tensors(), start)
    state.restore(kept)
    assert same(state.tensors(), kept)
    with pytest.raises(ValueError, match="give them in source"):
        FollowedFeatures(at="0").begin(net, [])
