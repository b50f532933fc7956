"""Rules that combine: each axis does what its formula says, on matrices and not on factors; the result is an adapter."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from table import METHODS, rows_where, shake
from torch import Tensor, nn
from trees import BATCH, grow, network, planted

import acclimate as acc
from acclimate.compose import NAMED, Average, Rule, combine, compose, extract, fisher, fold, rule
from acclimate.compose.combination import Update, gram, total, weigh
from acclimate.engine import FileError, MethodError


def _drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _thin(seed: int, rank: int = 3) -> Update:
    return Update(down=_drawn(seed, rank, 7), up=_drawn(seed + 100, 6, rank))


def _dense(update: Update) -> Update:
    return Update(whole=update.dense())


def _with(how: Rule, updates: list[Update], weights: list[float] | None = None) -> Tensor:
    weights = [1.0] * len(updates) if weights is None else weights
    matters = [each.dense().square() for each in updates] if how.weigh == "fisher" else None
    return how.combined(updates, weights, torch.Generator().manual_seed(0), matters).dense()


THREE = [_thin(seed, rank) for seed, rank in ((0, 2), (1, 3), (2, 1))]


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_rule_does_the_same_to_products_as_to_the_matrices_they_are(name: str) -> None:
    assert torch.allclose(_with(rule(name), THREE), _with(rule(name), [_dense(u) for u in THREE]), atol=1e-4)


@pytest.mark.parametrize("name", [n for n, r in NAMED.items() if r.linear])
def test_a_linear_rule_never_forms_the_matrix(name: str) -> None:
    made = rule(name).combined(THREE[:2], [1.0, 2.0], torch.Generator())
    assert made.rank == 5


def test_the_mean_is_the_mean_of_matrices_not_of_factors() -> None:
    wanted = sum(u.dense() for u in THREE) / 3
    assert torch.allclose(_with(rule("linear"), THREE), wanted, atol=1e-5)
    wrong = sum(u.factors[1] for u in [_thin(0), _thin(1)]) @ sum(u.factors[0] for u in [_thin(0), _thin(1)]) / 4
    assert not torch.allclose(_with(rule("linear"), [_thin(0), _thin(1)]), wrong, atol=0.1)


def test_inner_products_and_the_nearest_of_a_rank_come_from_factors() -> None:
    dense = [u.dense().double().flatten() for u in THREE]
    assert torch.allclose(gram(THREE), torch.stack([torch.stack([a @ b for b in dense]) for a in dense]), rtol=1e-6)
    whole = total(THREE, [1.0, 1.0, 1.0])
    u, s, v = torch.linalg.svd(whole.dense())
    for rank in (1, 3, 5):
        wanted = (u[:, :rank] * s[:rank]) @ v[:rank]
        assert torch.allclose(whole.nearest(rank).dense(), wanted, atol=1e-4)
        assert torch.allclose(_dense(whole).nearest(rank).dense(), wanted, atol=1e-4)


def test_ties_written_out() -> None:
    a, b, c = (torch.tensor(v) for v in ([4.0, -3.0, 0.1, 2.0], [-1.0, -2.0, 5.0, 0.2], [2.0, 0.1, -6.0, 3.0]))
    made = _with(rule("ties", density=0.5), [Update(whole=each[None]) for each in (a, b, c)])
    # kept: (4, -3, 0, 0), (0, -2, 5, 0), (0, 0, -6, 3); signs elected: +, -, -, +
    assert torch.allclose(made, torch.tensor([[4.0, -2.5, -6.0, 3.0]]))


def test_ties_of_one_is_what_was_kept_of_it() -> None:
    one = Update(whole=_drawn(0, 5, 8))
    made = _with(rule("ties", density=0.25), [one])
    assert int(made.count_nonzero()) == 10
    assert torch.equal(made[made != 0].abs().sort().values, one.dense().flatten().abs().sort().values[-10:])


@pytest.mark.parametrize("elements", [1, 2, 10, 64, 99])
@pytest.mark.parametrize("name", ["magnitude", "breadcrumbs", "variance"])
def test_a_small_tensor_keeps_its_share(name: str, elements: int) -> None:
    pair = [Update(whole=_drawn(seed, 1, elements)) for seed in (0, 1)]
    made = _with(Rule(sparsify=name, density=0.9), pair)
    assert int(made.count_nonzero()) >= max(1, round(0.8 * elements))


def test_breadcrumbs_leaves_the_largest_out() -> None:
    values = torch.arange(1.0, 101.0)[None]
    made = _with(Rule(sparsify="breadcrumbs", density=0.5, outliers=0.1), [Update(whole=values)])
    assert made.nonzero()[:, 1].tolist() == list(range(40, 90))


@pytest.mark.parametrize("name", ["dare_linear", "della_linear"])
def test_what_is_dropped_at_random_keeps_its_size(name: str) -> None:
    whole = Update(whole=torch.ones(200, 200) + 0.1 * _drawn(5, 200, 200))
    made = _with(rule(name, density=0.5), [whole])
    assert float((made == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(made.sum()) == pytest.approx(float(whole.dense().sum()), rel=0.03)


def test_della_keeps_the_larger_rather() -> None:
    whole = Update(whole=torch.arange(1.0, 1001.0).repeat(50, 1))
    kept = (_with(Rule(sparsify="della", density=0.5, spread=0.4), [whole]) != 0).float().mean(0)
    assert float(kept[:100].mean()) < 0.2 and float(kept[-100:].mean()) > 0.8


def test_slerp_ends_at_each_and_keeps_the_length_between() -> None:
    one, other = _thin(0), _thin(1)
    for weights, wanted in (([1.0, 0.0], one), ([0.0, 1.0], other)):
        assert torch.allclose(_with(rule("slerp"), [one, other], weights), wanted.dense(), atol=1e-5)
    unit = [Update(whole=each.dense() / each.norm()) for each in (one, other)]
    assert float(_with(rule("slerp"), unit).norm()) == pytest.approx(1, abs=1e-5)


def test_the_karcher_mean_is_where_the_pulls_cancel() -> None:
    flat = [u.dense().double().flatten() for u in THREE]
    mean = _with(rule("karcher"), THREE).double().flatten()
    assert float(mean.norm()) == pytest.approx(float(sum(f.norm() for f in flat)) / 3, rel=1e-5)
    mean = mean / mean.norm()
    pulls = []
    for each in flat:
        unit = each / each.norm()
        along = unit @ mean
        pulls.append(along.acos() / (1 - along**2).sqrt() * (unit - along * mean))
    assert float(sum(pulls).norm()) < 1e-5
    two = THREE[:2]
    halves = [Update(whole=u.dense() / u.norm()) for u in two]
    assert torch.allclose(_with(rule("karcher"), halves), _with(rule("slerp"), halves), atol=1e-5)


def test_stock_keeps_what_is_common() -> None:
    common = _drawn(0, 6, 7)
    alike = [Update(whole=common) for _ in range(3)]
    assert torch.allclose(_with(rule("model_stock"), alike), common, atol=1e-5)
    apart = [Update(whole=torch.eye(3)[i : i + 1]) for i in range(3)]
    assert float(_with(rule("model_stock"), apart).abs().max()) < 1e-6


def test_by_fisher_an_entry_counts_as_much_as_it_matters() -> None:
    one, other = torch.tensor([[2.0, 2.0, 2.0]]), torch.tensor([[-1.0, -1.0, -1.0]])
    matters = [torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]])]
    made = rule("fisher").combined([Update(whole=one), Update(whole=other)], [1.0, 1.0], torch.Generator(), matters)
    assert torch.allclose(made.dense(), torch.tensor([[1.25, 2.0, 0.5]]), atol=1e-4)
    with pytest.raises(MethodError, match="importance"):
        rule("fisher").combined([Update(whole=one)], [1.0], torch.Generator())


def test_fisher_is_the_mean_square_of_the_gradient_at_the_adapted_weight() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2, bias=False))
    adapter = shake(acc.attach(model, acc.LoRA(rank=2), at="all", name="a"))
    shake(acc.attach(model, acc.LoRA(rank=1), at="all", name="other"), seed=3)
    x = _drawn(0, 400, 4)
    found = fisher(adapter, x, rows=400)
    with acc.only(model, "a"), torch.no_grad():
        hidden = model[:2](x)
        p = model(x).softmax(1)
    own = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]  # E_y (onehot - p)^2, the diagonal of it
    exact = (own.diagonal(dim1=1, dim2=2)[:, :, None] * hidden.square()[:, None, :]).mean(0)
    assert torch.allclose(found["2.weight"], exact, rtol=0.25)
    assert set(found) == {"0.weight", "2.weight"}
    assert acc.adapters(model)["other"].enabled and not adapter.merged


def test_energy_and_similarity() -> None:
    assert weigh.energy(torch.diag(torch.tensor([1.0, 3.0]).double()), torch.ones(2)).tolist() == [0.5, 1.5]
    near = weigh.similarity(torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]).double(), torch.ones(3))
    assert float(near[0]) == pytest.approx(float(near[1])) and float(near[2]) < float(near[0])


def test_in_the_shared_basis_a_rule_sees_coordinates() -> None:
    """Updates of one rank-one direction each: entries of the matrices disagree in sign, coordinates do not."""
    made = Rule(sparsify="magnitude", density=1.0, align="basis", elect="mass").combined(
        THREE, [1.0] * 3, torch.Generator()
    )
    assert made.rank == 6 and made.whole is None
    alone = Rule(sparsify="magnitude", density=1.0, align="basis").combined(THREE, [1.0] * 3, torch.Generator())
    assert torch.allclose(alone.dense(), sum(u.dense() for u in THREE), atol=1e-4)


def test_nearswap_moves_no_entry_farther_than_its_limit() -> None:
    update = _drawn(0, 4, 4)
    assert torch.allclose(_with(rule("nearswap", limit=0.5), [Update(whole=update)]), update.clamp(-0.5, 0.5))


@pytest.mark.parametrize("settings", [{"sparsify": "ties"}, {"density": 2}, {"weigh": "much"}, {"align": "up"}])
def test_a_rule_that_cannot_be(settings: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        Rule(**settings)


# On adapters


@pytest.mark.parametrize("seed", range(60))
def test_folded_is_what_it_was(seed: int) -> None:
    """A random composition of random methods, folded into a plain adapter, or refused where no weight can do it."""
    _folded(seed)


def test_many_random_compositions_fold() -> None:
    """Without this the law above could hold because everything is refused."""
    assert sum(_folded(seed) for seed in range(60)) >= 10


def _folded(seed: int) -> bool:
    model, draw = network(), random.Random(seed)
    planted(model, seed)
    for adapter in acc.adapters(model).values():
        adapter.disable()
    try:
        made = compose(model, grow(draw, depth=2), name="t")
        with torch.no_grad():
            before = model(BATCH)
        plain = fold(made)
    except MethodError as error:
        assert len(str(error)) > 20
        return False
    assert {type(part.method).__name__ for part in plain.parts} <= set(METHODS)
    assert plain.enabled and not made.enabled
    with torch.no_grad():
        assert (model(BATCH) - before).abs().max() <= 2e-5 * before.abs().max()
    return True


def _two(*methods: Any) -> tuple[nn.Module, list[Any]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 8))
    made = [
        shake(acc.attach(model, m, at="*weight", name=n), seed=i)
        for i, (n, m) in enumerate(zip("abcd", methods, strict=False))
    ]
    for adapter in made:
        adapter.disable()
    return model, made


def test_the_combination_is_an_adapter_that_is_saved_and_combined_again(tmp_path: Path) -> None:
    model, made = _two(acc.LoRA(rank=2), acc.DoRA(rank=1), acc.Full())
    x = _drawn(3, 5, 8)
    one = combine(made, "linear", [1, 2, 1], name="abc")
    with torch.no_grad():
        y = model(x)
    fresh, _ = _two()
    acc.load(fresh, one.save(tmp_path / "abc.safetensors"))
    with torch.no_grad():
        assert torch.allclose(fresh(x), y, atol=1e-6)
    again = combine([one, made[0]], "ties", name="again")
    assert again.enabled and not one.enabled


def test_an_adapter_that_is_absent_somewhere_counts_as_no_change_there() -> None:
    model, _ = _two()
    a = shake(acc.attach(model, acc.LoRA(rank=1), at="0.weight", name="a"))
    b = shake(acc.attach(model, acc.LoRA(rank=2), at="*weight", name="b"))
    tree = compose(model, Average("a", "b"), name="tree")
    x = _drawn(3, 5, 8)
    with torch.no_grad():
        y = model(x)
        tree.disable()
        combine([a, b], "linear", name="ab")
        assert torch.allclose(model(x), y, atol=1e-5)


def test_a_cut_rank_says_what_it_costs() -> None:
    _, made = _two(acc.LoRA(rank=2), acc.LoRA(rank=3))
    whole = combine(made, "task_arithmetic", name="whole")
    cut = combine(made, "task_arithmetic", name="cut", rank=2)
    assert whole.error == 0 and [p.method.rank for p in whole.parts] == [5]
    for (key, a), (_, b) in zip(whole.modules(), cut.modules(), strict=True):
        s = torch.linalg.svdvals(a.delta())
        assert cut.errors[key] == pytest.approx(float(s[2:].norm() / s.norm()), rel=1e-3)
        assert float((a.delta() - b.delta()).norm() / a.delta().norm()) == pytest.approx(cut.errors[key], rel=1e-3)


def test_units_in_another_order_are_brought_back_before_averaging() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    one = shake(acc.attach(model, acc.Bottleneck(width=5), at="0", name="one"))
    other = acc.attach(model, acc.Bottleneck(width=5), at="0", name="other")
    order = torch.tensor([3, 1, 4, 0, 2])
    (_, a), (_, b) = next(one.modules()), next(other.modules())
    with torch.no_grad():
        b.down.copy_(a.down[order]), b.down_bias.copy_(a.down_bias[order])
        b.up.copy_(a.up[:, order]), b.up_bias.copy_(a.up_bias)
        x = _drawn(0, 4, 8)
        with acc.only(model, "one"):
            wanted = model(x)
        aligned = combine([one, other], Rule(align="transport", normalise=True), name="aligned")
        assert torch.allclose(model(x), wanted, atol=1e-6)
        aligned.disable()
        combine([one, other], "linear", name="mixed")
        assert not torch.allclose(model(x), wanted, atol=1e-2)


@rows_where(lambda row: bool(row.method.Module.units) and row.case.name == "encoder")
@torch.no_grad()
def test_units_may_change_places(row: Any) -> None:
    from table import build, outputs, place, same

    model = build(row.case).eval()
    adapter = shake(place(model, row))
    before = outputs(model, row.case.batch())
    for _, module in adapter.modules():
        sizes = {getattr(module, role).shape[axis] for role, axis in module.units.items()}
        assert len(sizes) == 1
        order = torch.randperm(sizes.pop(), generator=torch.Generator().manual_seed(1))
        for role, axis in module.units.items():
            tensor = getattr(module, role)
            tensor.copy_(tensor.index_select(axis, order))
    after = outputs(model, row.case.batch())
    assert all(torch.allclose(a, b, atol=1e-4, rtol=1e-4) for a, b in zip(before, after, strict=True)), same


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda m: combine(list(m.values())[:2], "tied"), "no rule 'tied'"),
        (lambda m: combine(list(m.values())[:2], weights=[1]), "1 weights for 2"),
        (lambda m: combine([]), "nothing was given"),
        (lambda m: combine([m["a"], "b.safetensors"]), "combine one kind"),
        (lambda m: combine(["b.safetensors"]), "out="),
        (lambda m: combine([m["a"], m["n"]]), "cannot be averaged"),
        (lambda m: combine([m["n"]], "ties"), "can only be averaged"),
        (lambda m: fold(compose(m["a"].model, acc.Route("a", "b"), name="r")), "acts on what passes"),
        (lambda m: combine([nn.Linear(2, 2)]), "base="),
    ],
)
def test_what_cannot_be_combined(make: Any, said: str) -> None:
    model, made = _two(acc.LoRA(rank=1), acc.LoRA(rank=2))
    named = dict(zip("ab", made, strict=True)) | {"n": acc.attach(model, acc.Bottleneck(width=2), at="2", name="n")}
    with pytest.raises(MethodError, match=said):
        make(named)
    assert set(acc.adapters(model)) <= {"a", "b", "n", "r"}


# On models and files


def _tuned(seed: int) -> nn.Module:
    model, _ = _two()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)))
    return model


def test_the_difference_of_two_models_is_an_adapter() -> None:
    base, _ = _two()
    tuned, x = _tuned(0), _drawn(3, 5, 8)
    with torch.no_grad():
        extract(base, tuned, name="d")
        assert torch.allclose(base(x), tuned(x), atol=1e-5)
        cut = extract(base, tuned, name="e", rank=2)
        kept = extract(base, tuned, name="f", share=0.9)
    assert 0 < cut.error < 1 and all(error**2 <= 0.1 + 1e-6 for error in kept.errors.values())
    with pytest.raises(MethodError, match="another architecture"):
        extract(base, nn.Linear(2, 2), name="g")


def test_models_are_combined_by_what_each_adds() -> None:
    base, _ = _two()
    made = combine([_tuned(0), _tuned(1)], "linear", base=base)
    x = _drawn(3, 5, 8)
    one, other = _tuned(0).state_dict(), _tuned(1).state_dict()
    mean = {name: (one[name] + other[name]) / 2 for name in one}
    with torch.no_grad():
        assert torch.allclose(base(x), torch.func.functional_call(_two()[0], mean, (x,)), atol=1e-5)
    assert list(acc.adapters(base)) == [made.name]


@pytest.mark.parametrize("name", sorted(name for name, each in NAMED.items() if each.weigh != "fisher"))
def test_files_are_combined_as_models_are(name: str, tmp_path: Path) -> None:
    states = {each: _tuned(seed).state_dict() for seed, each in enumerate(("a", "b"))}
    states["base"] = _two()[0].state_dict()
    for each, state in states.items():
        save_file({**state, "steps": torch.tensor(7)}, tmp_path / f"{each}.safetensors")
    how = rule(name)
    out = combine(
        [tmp_path / "a.safetensors", tmp_path / "b.safetensors"], how, out=tmp_path / "out" / "ab.safetensors",
        base=tmp_path / "base.safetensors",
    )  # fmt: skip
    found = load_file(out)
    assert found.keys() == {*states["base"], "steps"} and int(found["steps"]) == 7
    generator = torch.Generator().manual_seed(0)
    for key in sorted(states["base"]):
        updates = [Update(whole=states[each][key] - states["base"][key]) for each in ("a", "b")]
        own = how.using(align="none") if updates[0].dense().dim() < 2 else how  # vectors have no basis of their own
        wanted = states["base"][key] + own.combined(updates, [1.0, 1.0], generator).dense()
        assert torch.allclose(found[key], wanted, atol=1e-6), key
    assert not list(tmp_path.glob("out/.*"))


def test_files_of_other_shapes_or_types_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2, 2)}, tmp_path / "a.safetensors")
    save_file({"w": torch.ones(2, 3)}, tmp_path / "b.safetensors")
    save_file({"v": torch.ones(2, 2)}, tmp_path / "c.safetensors")
    (tmp_path / "d.safetensors").write_bytes(b"\x80\x04nonsense")
    for other, said in {"b": "has the shape", "c": "lacks w", "d": "not a whole", "e": "no checkpoint"}.items():
        with pytest.raises((FileError, FileNotFoundError), match=said):
            combine([tmp_path / "a.safetensors", tmp_path / f"{other}.safetensors"], out=tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists() and not list(tmp_path.glob(".x*"))


def test_a_checkpoint_in_pieces_and_in_half_precision(tmp_path: Path) -> None:
    for each, value in {"a": 1.0, "b": 3.0}.items():
        (tmp_path / each).mkdir()
        for piece in ("1", "2"):
            tensors = {f"w{piece}": torch.full((2, 2), value, dtype=torch.bfloat16)}
            save_file(tensors, tmp_path / each / f"model-{piece}.safetensors")
    found = load_file(combine([tmp_path / "a", tmp_path / "b"], out=tmp_path / "m.safetensors"))
    assert (
        all(torch.equal(t, torch.full((2, 2), 2.0, dtype=torch.bfloat16)) for t in found.values()) and len(found) == 2
    )


def test_the_order_of_what_is_given_does_not_matter() -> None:
    for name in NAMED:
        if NAMED[name].sparsify in ("random", "della"):
            continue  # each has draws of its own
        some = THREE[:2]
        results = [_with(rule(name), list(order)) for order in itertools.permutations(some)]
        assert torch.allclose(results[0], results[1], atol=1e-4), name


def test_searching_finds_the_weights_that_were_planted() -> None:
    from acclimate.compose.combination.search import search

    model, made = _two(acc.LoRA(rank=2), acc.DoRA(rank=2), acc.LoRA(rank=1))
    x = _drawn(3, 40, 8)
    target = compose(model, Average("a", "b", "c", weights=[0.9, -0.4, 0.0]), name="planted")
    with torch.no_grad():
        y = model(x)
    target.detach()
    before = {n: a.enabled for n, a in acc.adapters(model).items()}
    found = search(made, lambda m: float((m(x) - y).square().mean()), tries=300, sparsity=0.0)
    assert found == pytest.approx((0.9, -0.4, 0.0), abs=0.05)
    assert {n: a.enabled for n, a in acc.adapters(model).items()} == before
    assert found == search(made, lambda m: float((m(x) - y).square().mean()), tries=300, sparsity=0.0)


def test_regrouped_ranks_are_the_sum_at_full_rank_whatever_their_order_and_sign() -> None:
    from acclimate.compose.combination.regroup import grouped, regroup

    model, made = _two(acc.LoRA(rank=2), acc.LoRA(rank=3))
    x = _drawn(3, 5, 8)
    regroup(made, rank=5, name="all", scale=1.0)
    with torch.no_grad():
        y = model(x)
        acc.adapters(model)["all"].detach()
        combine(made, "task_arithmetic", name="sum")
        assert torch.allclose(model(x), y, atol=1e-5)
    down, up = total(THREE, [1.0] * 3).factors
    order, sign = torch.tensor([4, 2, 0, 5, 1, 3]), torch.tensor([1.0, -1, 1, -1, -1, 1])
    other = Update(down=(down * sign[:, None])[order], up=(up * sign)[:, order])
    assert grouped(Update(down=down, up=up), 6).rank == 6
    near = Update(down=torch.cat([down, 1.01 * down]), up=torch.cat([up, 0.99 * up], 1))
    assert torch.allclose(grouped(near, 6).dense(), near.dense(), atol=0.05)
    assert torch.allclose(other.dense(), Update(down=down, up=up).dense(), atol=1e-5)


def test_rules_are_tried_on_one_half_and_scored_on_the_other() -> None:
    from acclimate.choose import try_rules

    model, made = _two(acc.LoRA(rank=2), acc.LoRA(rank=3))
    made[1].enable()
    data = [(_drawn(i, 16, 8), torch.arange(16) % 8) for i in range(4)]
    found = {each.what: each for each in try_rules(made, data)}
    assert list(found)[:3] == ["unadapted", "a", "b"] and set(NAMED) < set(found)
    assert all(each.held_out is not None and each.held_out.rows == 32 for each in found.values())
    assert list(acc.adapters(model)) == ["a", "b"] and (made[0].enabled, made[1].enabled) == (False, True)
    with acc.only(model, "b"):
        from acclimate.loops import evaluate

        assert found["b"].held_out == evaluate(model, [data[1], data[3]])
