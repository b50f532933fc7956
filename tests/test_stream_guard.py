"""The guard on real digits: it keeps what adapting gains, and is not drawn below the frozen model where that loses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from acclimate.bench.conditions import CONDITIONS
from acclimate.bench.convnet import pretrained
from acclimate.bench.digits import digits
from acclimate.engine import Method
from acclimate.loops.adaptation import Adaptation
from acclimate.loops.guard import Guard
from acclimate.loops.signs import Look, spread
from acclimate.loops.stream import Event, stream
from acclimate.loops.watches import watching
from acclimate.losses import Entropy
from acclimate.methods import LAME, Affine, BatchPrior, BatchStatistics, GatheredStatistics
from acclimate.players import CategoryBalanced
from acclimate.rules import Gradient

KINDS = {"drift", "trust", "rollback", "refuse", "non-finite"}
Data = tuple[Tensor, Tensor]


def tent(lr: float = 1e-3) -> Adaptation:
    rule = Gradient(lr=lr, optimiser="adam", schedule="constant", warmup=0.0, clip=None)
    return Adaptation({BatchStatistics(): "all", Affine(): "norm"}, Entropy(), rule)


def under(name: str, rows: Callable[[Tensor, torch.Generator], Tensor], seed: int = 0) -> Data:
    """Held-out digits in an order, under a condition."""
    images, labels = digits("test")
    generator = torch.Generator().manual_seed(seed)
    chosen = rows(labels, generator)
    return CONDITIONS[name](images[chosen], 0.6, generator), labels[chosen]


def shuffled(labels: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(labels), generator=generator)


def by_class(labels: Tensor, generator: torch.Generator) -> Tensor:
    return labels.argsort(stable=True)


def imbalanced(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Nine of ten rows are threes."""
    weights = torch.where(labels == 3, 81.0, 1.0)
    return torch.multinomial(weights, 1000, True, generator=generator)


def long_runs(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Runs so long that no batch for a long time holds a second class."""
    return torch.cat([torch.where(labels == k)[0].repeat(10)[:500] for k in (3, 7, 1)])


def join(*parts: Data) -> Data:
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def broken() -> Data:
    images, labels = under("blur", by_class)
    images = images.clone()
    images[100:200] = float("nan")
    return images, labels


def constant() -> Data:
    """One image again and again."""
    images, labels = digits("test")
    return images[:1].repeat(600, 1, 1, 1), labels[:1].repeat(600)


HARD: dict[str, Callable[[], Data]] = {
    "sorted clean": lambda: under("clean", by_class),
    "sorted conditions": lambda: join(*(under(name, by_class) for name in CONDITIONS)),
    "imbalanced clean": lambda: under("clean", imbalanced),
    "long runs": lambda: under("clean", long_runs),
    "long runs, blurred": lambda: under("blur", long_runs),
    "constant": constant,
    "not numbers": broken,
}


def right(guard: bool, data: Data, size: int = 50, row: Adaptation | None = None) -> tuple[int, list[Event], float]:
    """Rows answered right, events, and the share of batches on which the adapted model was trusted."""
    images, labels = data
    hits, trusted = 0, []
    with stream(pretrained(), row or tent(), guard=guard) as opened:
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            hits += int((opened(x).argmax(-1) == y).sum())
            trusted.append(opened.trusted)
        return hits, opened.events, sum(trusted) / len(trusted)


def frozen(data: Data) -> int:
    with torch.no_grad():
        return int((pretrained()(data[0]).argmax(-1) == data[1]).sum())


@pytest.mark.parametrize("name", HARD)
def test_it_is_not_drawn_below_the_frozen_model(name: str) -> None:
    data = HARD[name]()
    allowed = max(0.01 * len(data[1]), 50)
    assert right(True, data)[0] >= frozen(data) - allowed


@pytest.mark.parametrize("name", ["sorted clean", "sorted conditions", "imbalanced clean", "long runs"])
def test_without_it_the_plain_method_is_drawn_far_below(name: str) -> None:
    """Else the law above would say nothing."""
    data = HARD[name]()
    assert right(False, data)[0] < frozen(data) - 0.05 * len(data[1])


def test_it_keeps_what_adapting_gains_on_a_shuffled_stream() -> None:
    data = join(*(under(name, shuffled, seed) for seed, name in enumerate(("blur", "contrast", "noise", "occlusion"))))
    still, plain, guarded = frozen(data), right(False, data)[0], right(True, data)[0]
    assert plain > still + 0.1 * len(data[1])
    assert guarded - still >= 0.8 * (plain - still)


def test_an_order_that_turns_correlated_ends_trust() -> None:
    start = join(under("blur", shuffled), under("blur", shuffled, 1))
    data = join(start, under("blur", by_class))
    _, events, _ = right(True, data)
    when = len(start[1]) // 50
    assert [event.kind for event in events if event.step < when - 1][-1] == "trust"
    lost = [event for event in events if event.step >= when - 1]
    assert lost and lost[0].kind == "rollback" and lost[0].step < when + 6


def test_a_model_that_learns_too_fast_is_rolled_back_for_that() -> None:
    """Features that move because the model learns are not taken for an order of the rows."""
    data = join(*(under("blur", shuffled, seed) for seed in range(3)))
    hits, events, _ = right(True, data, row=tent(lr=1.0))
    plain = right(False, data, row=tent(lr=1.0))[0]
    signs = {event.sign for event in events if event.kind == "rollback"}
    assert signs and signs <= {"distance", "concentration"}
    assert plain < frozen(data) - 0.3 * len(data[1]) and hits >= frozen(data)


def test_events_explain_themselves() -> None:
    mixed = join(under("blur", shuffled), under("noise", shuffled))
    for data in (HARD["sorted conditions"](), HARD["not numbers"](), mixed):
        events = right(True, data)[1]
        assert events
        for event in events:
            assert event.kind in KINDS and event.sign
            assert len(event.why.split()) > 6 and ("answer" in event.why or event.kind == "drift")
            assert event.values or event.kind == "non-finite"
        assert [event.step for event in events] == sorted(event.step for event in events)


def looked(seed: int, moved: float = 0.0) -> Look:
    generator = torch.Generator().manual_seed(seed)
    deep = torch.randn(50, 8, generator=generator) + moved
    logits = 5 * torch.randn(50, 4, generator=generator)
    rows = torch.randn(50, 10, 3, generator=generator)
    return Look(logits, deep, rows.mean(1), rows.square().mean(1), source=spread(rows.flatten(0, 1)))


def test_the_frozen_model_is_asked_on_probation_and_suspicion_and_seldom_else() -> None:
    watch, asked = watching(Guard(), "shuffled"), []
    for number in range(60):
        before = len(asked)

        def frozen(number: int = number) -> Look:
            asked.append(number)
            return looked(number)

        trusted = watch.judge(looked(number), frozen, 0.0).trusted
        if not trusted:
            assert len(asked) == before + 1
    assert watch.trusted and len(asked) < 20
    assert not watch.judge(looked(60, moved=2.0), lambda: looked(60, moved=2.0), 0.0).trusted


def test_drift_is_told_with_its_time_and_size_and_classes_in_runs_are_none() -> None:
    parts = [under(name, shuffled, seed) for seed, name in enumerate(("clean", "blur", "contrast"))]
    each = len(parts[0][1]) // 50 * 50
    _, events, _ = right(True, join(*((x[:each], y[:each]) for x, y in parts)))
    drifts = [event for event in events if event.kind == "drift"]
    assert [event.step for event in drifts] == [each // 50, 2 * each // 50]
    assert all(event.values["jump"] > 0.2 and f"{event.values['jump']:.2f}" in event.why for event in drifts)
    for name in ("sorted clean", "long runs"):
        assert not [event for event in right(True, HARD[name]())[1] if event.kind == "drift"]


def test_each_strike_makes_probation_longer() -> None:
    watch, needs = watching(Guard(probation=50), "shuffled"), []
    for number in range(4):
        look = looked(number, moved=3.0 * (number % 2))
        watch.judge(look, lambda look=look: look, 0.0)
        needs.append(watch.need)
    assert needs[1:] == [200, 800, 3200]


def adaptive() -> Adaptation:
    return Adaptation({GatheredStatistics(): "all", BatchPrior(): "head"})


@pytest.mark.parametrize("name", HARD)
def test_what_is_good_in_any_order_is_not_drawn_below_either(name: str) -> None:
    data = HARD[name]()
    assert right(True, data, row=adaptive())[0] >= frozen(data) - max(0.01 * len(data[1]), 50)


def test_what_is_good_in_any_order_gains_where_classes_come_in_runs() -> None:
    data = HARD["sorted conditions"]()
    still, plain, guarded = frozen(data), right(False, data, row=adaptive())[0], right(True, data, row=adaptive())[0]
    assert plain > still + 0.1 * len(data[1])
    assert guarded - still >= 0.8 * (plain - still)


@pytest.mark.parametrize(
    ("method", "order"),
    [(BatchStatistics(), "shuffled"), (LAME(), "correlated"), (GatheredStatistics(), "any"), (Affine(), "any")],
)
def test_an_adaptation_expects_the_order_of_its_parts(method: Method, order: str) -> None:
    at = "head" if isinstance(method, LAME) else "all"
    rule = Gradient(schedule="constant", warmup=0.0)
    assert Adaptation({method: at}).expects == order
    assert Adaptation({method: at}, Entropy(), rule).expects == "shuffled"
    assert Adaptation({method: at}, Entropy(), rule, (CategoryBalanced(),)).expects == order


def test_while_nothing_could_earn_trust_the_frozen_model_alone_runs() -> None:
    images, _ = under("blur", shuffled)
    model, runs = pretrained(), []
    model.register_forward_hook(lambda *_: runs.append(1))
    for row, batches, each in ((Adaptation({LAME(): "head"}), 6, 1), (tent(), 3, 1)):
        with stream(model, row) as opened:
            for x in images[: 50 * batches].split(50):
                runs.clear()
                opened(x)
                assert len(runs) == each and not opened.trusted
            if row.expects == "shuffled":
                opened(images[150:200])
                assert opened.trusted


def test_labels_win_trust_also_while_the_frozen_model_alone_runs() -> None:
    images, labels = under("contrast", shuffled)
    with stream(pretrained(), tent(), guard=Guard(probation=10_000)) as opened:
        for number, (x, y) in enumerate(zip(images.split(50)[:4], labels.split(50), strict=False)):
            opened(x)
            opened.feedback(range(50 * number, 50 * number + 50), y)
        assert opened.trusted and opened.events[-1].sign == "labels"


def moving(seed: int, entry: float, deep: float) -> Look:
    """A batch whose entry and deep features lie elsewhere."""
    look = looked(seed, deep)
    assert look.entry is not None and look.squares is not None
    return replace(look, entry=look.entry + entry, squares=look.squares + 2 * entry * look.entry + entry**2)


@pytest.mark.parametrize(("entry", "sign"), [(2.0, ""), (0.0, "order")])
def test_conditions_move_what_enters_and_classes_what_leaves(entry: float, sign: str) -> None:
    watch = watching(Guard(probation=50, narrow=0.01), "shuffled")
    for number in range(4):
        watch.judge(looked(number), lambda number=number: looked(number), 0.0)
    assert watch.trusted
    after = moving(4, entry, 2.0)
    verdict = watch.judge(after, lambda: after, 0.0, lambda: looked(3))
    assert verdict.sign == sign and verdict.trusted == (not sign)


def test_a_model_that_earns_no_trust_is_asked_ever_more_seldom_until_conditions_change() -> None:
    """Frozen answers of one class, where the adapted model sees four, under conditions it knows."""
    watch = watching(Guard(probation=50), "shuffled")
    narrow = torch.tensor([9.0, 0.0, 0.0, 0.0]).expand(50, 4)
    asked = []
    for number in range(60):
        frozen = replace(looked(number), logits=narrow)
        if watch.waits(50):
            watch.wait(frozen)
        else:
            asked.append(number)
            watch.judge(looked(number), lambda frozen=frozen: frozen, 0.0)
    pauses = [later - sooner - 1 for sooner, later in itertools.pairwise(asked)]
    assert pauses[:3] == [0, 0, 0] and pauses == sorted(pauses) and pauses[-1] > 2 and not watch.trusted
    while not watch.waits(50):
        watch.judge(looked(60), lambda: replace(looked(60), logits=narrow), 0.0)
    watch.wait(moving(61, 2.0, 2.0))
    assert not watch.waits(50)


@pytest.mark.parametrize(("says", "trusted"), [(5.0, True), (0.5, False)])
def test_answers_that_say_more_of_the_inputs_earn_trust_in_any_order(says: float, trusted: bool) -> None:
    """Its features drift with every batch, and that is held against no one."""
    watch = watching(Guard(), "any")
    for number in range(4):
        look = looked(number, moved=3.0 * (number % 2))
        known = replace(look, logits=says * look.logits / 5)
        watch.judge(known, lambda look=look: replace(look, logits=look.logits.roll(1, 0) / 3), 0.0)
    assert watch.trusted == trusted
