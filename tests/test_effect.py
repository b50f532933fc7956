"""Law 2: nothing is a silent no-op. What `check` says is compared with looking for oneself, site by site."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import torch
from models import CASES, Twice, ids, noise
from table import METHODS, Row, build, case, distance, outputs, place, places, rows_where, same, shake
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate import LoRA, Scale, adapters, attach
from acclimate.engine import Adapter, EffectError


def _dead(adapter: Adapter, batch: Any) -> set[str]:
    """Sites whose parameters can be moved a lot without moving the output, in evaluation mode."""
    dead: set[str] = set()
    with torch.no_grad():
        before = outputs(adapter.model, batch)
        for key, module in list(adapter.modules()):
            own = list(module.parameters())
            kept = [p.clone() for p in own]
            for i, p in enumerate(own):
                p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(i)))
            if own and same(outputs(adapter.model, batch), before):
                dead.add(key)
            for p, old in zip(own, kept, strict=True):
                p.copy_(old)
    return dead


@rows_where()
def test_every_site_acts_or_is_named(row: Row) -> None:
    """`check` passes where every site moves the output, and names one that does not where there is one."""
    model, batch = build(row.case), row.case.batch()
    adapter = shake(place(model, row))
    dead = _dead(adapter, batch)
    try:
        effect = adapter.check(batch)
    except EffectError as error:
        assert any(f"at {key} has" in str(error) for key in dead), f"{error}; dead are {sorted(dead)}"
        return
    for seed in (6, 7, 8):  # an expert that no token was sent to in one state may be asked in another
        dead = dead and dead & _dead(shake(adapter, seed), batch)
    assert dead <= set(effect.unreached), "a site without effect was passed over"
    assert effect.active, "something must act"


@rows_where(lambda row: row.at == row.method.at and row.at != "all")
def test_at_its_own_default_place_everything_acts(row: Row) -> None:
    effect = place(build(row.case), row).check(row.case.batch())
    assert effect.active
    assert not effect.unreached or "experts" in " ".join(effect.unreached)


@rows_where(lambda row: row.case.name in ("bert", "resnet", "lstm", "encoder", "tied", "gpt2"))
def test_checking_restores_every_bit(row: Row) -> None:
    model, batch = build(row.case), row.case.batch()
    adapter = shake(place(model, row))
    model.train()
    next(model.children()).eval()
    for parameter in adapter.parameters():
        parameter.grad = torch.ones_like(parameter)

    def state() -> dict[str, Any]:
        tensors = {n: t.clone() for n, t in [*model.named_parameters(), *model.named_buffers()]}
        flags = {n: (p.requires_grad, p.grad is None or p.grad.sum().item()) for n, p in model.named_parameters()}
        return {"t": tensors, "f": flags, "m": [m.training for m in model.modules()], "r": torch.get_rng_state()}

    before = state()
    with suppress(EffectError):
        adapter.check(batch)
    after = state()
    assert before["f"] == after["f"] and before["m"] == after["m"] and torch.equal(before["r"], after["r"])
    assert all(torch.equal(before["t"][n], after["t"][n]) for n in before["t"])


@rows_where(lambda row: row.at == row.method.at)
def test_gradients_reach_the_adapter_and_nothing_else(row: Row) -> None:
    model, batch = build(row.case), row.case.batch()
    adapter = shake(place(model, row))
    if not adapter.parameters():
        pytest.skip("no parameter to learn")
    found = outputs(model, batch)
    torch.stack([(y * noise(*y.shape)).sum() for y in found if y.requires_grad]).sum().backward()
    mine = {id(p) for p in adapter.parameters()}
    assert any(p.grad is not None and p.grad.count_nonzero() for p in adapter.parameters())
    assert all(p.grad is None for p in model.parameters() if id(p) not in mine)


class _Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.hidden = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.used(x)
        return y + 0 * self.hidden(x)


@pytest.mark.parametrize("at", ["hidden", ["used", "hidden"]])
def test_a_site_that_cannot_matter_is_refused_by_name(at: Any) -> None:
    adapter = attach(_Unused(), LoRA(rank=2), at=at)
    with pytest.raises(EffectError, match=r"hidden\.weight has no effect"):
        adapter.check(noise(3, 4))


def test_a_site_that_the_batch_does_not_reach_is_reported() -> None:
    effect = attach(_Unused(), LoRA(rank=2), at=["used", "unused"]).check(noise(3, 4))
    assert effect.active == ("used.weight",) and effect.unreached == ("unused.weight",)


class _OnlyInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + (self.b(x) if self.training else self.b(x).detach() * 0)


def test_effect_in_training_alone_is_no_effect() -> None:
    with pytest.raises(EffectError, match=r"b\.weight has no effect: in evaluation mode"):
        attach(_OnlyInTraining(), LoRA(rank=2), at="b").check(noise(3, 4))


def test_disabled_and_merged_have_nothing_to_check() -> None:
    adapter = attach(nn.Linear(4, 4), LoRA(rank=2), at="all")
    with pytest.raises(EffectError, match="disabled"):
        adapter.disable().check(noise(3, 4))
    adapter.enable().merge()
    with pytest.raises(EffectError, match="merged"):
        adapter.check(noise(3, 4))


@pytest.mark.parametrize("name", ["encoder", "encoder time first"])
@pytest.mark.parametrize("at", ["mlp", "attention", "all"])
@torch.no_grad()
def test_the_fast_path_of_the_encoder_sees_the_adapter(name: str, at: str) -> None:
    """A peer's adapter on the feed-forward acts in train() and vanishes in eval() (fine-tuning.md 2a, 1)."""
    model, batch = build(case(name)), case(name).batch()
    base = outputs(model, batch)
    adapter = shake(attach(model, LoRA(rank=2), at=at))
    evaluated, trained = outputs(model.eval(), batch), outputs(model.train(), batch)
    assert distance(evaluated, base) > 1e-2
    assert distance(evaluated, trained) < 1e-5
    adapter.merge()
    assert distance(outputs(model.eval(), batch), evaluated) < 1e-5


@torch.no_grad()
def test_the_output_projection_inside_attention_is_adapted() -> None:
    """Nobody calls ``nn.MultiheadAttention.out_proj``: its weight is read."""
    model, x = build(case("multihead")), case("multihead").batch()
    base = outputs(model, x)
    adapter = shake(attach(model, LoRA(rank=2), at="fused.out_proj"))
    assert distance(outputs(model, x), base) > 1e-3
    adapter.merge()
    assert distance(outputs(model, x), base) > 1e-3


@torch.no_grad()
def test_a_weight_read_from_outside_is_adapted() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.linear.weight, self.linear.bias)

    model, x = Reads(), noise(3, 4)
    base = outputs(model, x)
    shake(attach(model, Scale(), at="linear"))
    assert distance(outputs(model, x), base) > 1e-3


@torch.no_grad()
def test_a_module_registered_twice_acts_at_both_names() -> None:
    model, x = Twice(), noise(3, 8)
    for name in ("first", "second"):
        adapter = shake(attach(model, LoRA(rank=2), at=name))
        assert adapter.parts[0].keys == ("first.weight",)
        by_hand = model.out(torch.tanh(model.first(torch.tanh(model.first(x)))))
        assert torch.equal(model(x), by_hand)
        weight = model.first.weight
        assert torch.equal(weight, model.second.weight) and not torch.equal(weight, model.first._parameters["weight"])
        adapter.detach()


def test_a_tied_weight_moves_every_reader() -> None:
    model, x = build(case("tied")), ids()
    shake(attach(model, LoRA(rank=2), at="head"))
    assert torch.equal(model.embed.weight, model.head.weight)
    assert adapters(model)["adapter"].parts[0].keys == ("embed.weight",)
    assert model(x).shape == (3, 7, 50)


def test_the_table_is_the_cross_and_not_a_remnant() -> None:
    """Where no site fits a row falls out of every law, so what falls out is counted here."""
    everywhere = {name for name, m in METHODS.items() if all(places(m, c) for c in CASES)}
    assert {"LoRA", "DoRA", "Full", "Scale", "Affine"} <= everywhere
    for name in ("GatedPrompt", "Prefix", "Temper", "Sharpen"):
        assert {c.name for c in CASES if places(METHODS[name], c)} >= {
            "bert", "gpt2", "llama", "mixtral", "vit", "clip", "whisper", "encoder", "multihead",
            "multihead time first",
        }  # fmt: skip
    nowhere = {name for name, m in METHODS.items() if not any(places(m, c) for c in CASES)}
    assert nowhere == {"Kept", "MapHead", "SecondHead", "SubPrototypes", "Wiring"}, (
        "what goes between two kinds of site, or where it is named alone, has tests of its own, and nothing else"
    )


@rows_where(lambda row: row.case.name == "bert")
def test_a_fresh_adapter_is_in_the_mode_of_its_module(row: Row) -> None:
    """State that moves in training alone must not move in a model that is in evaluation."""
    assert not any(module.training for _, module in place(build(row.case), row).modules())
