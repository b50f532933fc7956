"""LoRA that is called by a token, that keeps little of its inputs, and that is drawn while it is trained: each against PEFT's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import peft
import pytest
import torch
from peft.tuners.lora.config import MontecloraConfig, VeloraConfig
from safetensors.torch import load_file
from table import case, distance, shake
from torch import nn

import acclimate as acc
from acclimate.engine import MergeError, MethodError
from acclimate.methods.given import given
from acclimate.methods.invoked import Invoked, since
from acclimate.store import PeftError

WORDS = (5, 7)
PROMPT = torch.tensor([[1, 5, 7, 2, 5, 7, 3], [9, 8, 4, 2, 6, 1, 1], [5, 7, 5, 1, 5, 2, 7], [1, 1, 1, 1, 1, 5, 7]])
"""Called twice, of which the last counts; not at all; at the start; at the end."""


def line() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))


def both(
    method: Any, make: Callable[[], nn.Module], at: Any, config: peft.LoraConfig
) -> tuple[nn.Module, acc.Adapter, Any]:
    """Our model, its adapter, and theirs with the same factors."""
    base = make()
    adapter = shake(acc.attach(base, method, at=at))
    there = peft.get_peft_model(make(), config)
    layers = {name: layer for name, layer in there.base_model.model.named_modules() if hasattr(layer, "lora_A")}
    with torch.no_grad():
        for key, module in adapter.modules():
            layer: Any = layers[key.removesuffix(".weight")]
            layer.lora_A["default"].weight.copy_(module.down)
            layer.lora_B["default"].weight.copy_(module.up)
    return base, adapter, there


def called() -> tuple[nn.Module, acc.Adapter, Any]:
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj", "down_proj"],
        task_type="CAUSAL_LM",
        alora_invocation_tokens=list(WORDS),
    )
    return both(
        acc.InvokedLoRA(4, 6.0, tokens=WORDS),
        lambda: models.seeded(case("llama").make),
        ["*q_proj", "*down_proj"],
        config,
    )


@torch.no_grad()
def test_called_from_the_same_word_on_as_in_peft() -> None:
    model, adapter, there = called()
    with acc.only(model):
        plain = model(input_ids=PROMPT).logits
    ours, theirs = Invoked(model)(input_ids=PROMPT).logits, there(input_ids=PROMPT).logits
    assert distance([ours], [theirs]) < 1e-6
    assert torch.equal(ours[1], plain[1]), "nothing calls in this row"
    assert torch.equal(ours[0, :4], plain[0, :4]) and not torch.allclose(ours[0, 4:], plain[0, 4:], atol=1e-3)
    assert not torch.allclose(model(input_ids=PROMPT).logits[1], plain[1], atol=1e-3), "nothing said: everywhere"
    with pytest.raises(MergeError, match="acts on what passes through"):
        adapter.merge()


@torch.no_grad()
def test_what_was_called_stays_called_while_words_are_generated() -> None:
    model, _, there = called()
    asked = {
        "max_new_tokens": 3,
        "do_sample": False,
        "return_dict_in_generate": True,
        "output_logits": True,
        "pad_token_id": 0,
    }
    with given(prompt=PROMPT):
        ours = model.generate(PROMPT, **asked)  # type: ignore[operator]
    theirs = there.generate(input_ids=PROMPT, **asked)
    assert torch.equal(ours.sequences, theirs.sequences)
    assert distance(list(ours.logits), list(theirs.logits)) < 1e-5


@torch.no_grad()
def test_what_stands_before_the_call_is_the_bases_cache() -> None:
    model, _, _ = called()
    with acc.only(model):
        cache = model(input_ids=PROMPT[:1, :4], use_cache=True).past_key_values
    with given(prompt=PROMPT[:1]):
        rest = model(input_ids=PROMPT[:1, 4:], past_key_values=cache).logits
        whole = model(input_ids=PROMPT[:1]).logits
    assert distance([rest], [whole[:, 4:]]) < 1e-5


@torch.no_grad()
def test_called_goes_to_a_folder_of_peft_and_comes_from_one(tmp_path: Path) -> None:
    _, _, there = called()
    there.save_pretrained(tmp_path / "theirs")
    model = models.seeded(case("llama").make)
    adapter = acc.read_peft(model, tmp_path / "theirs")
    expected = there(input_ids=PROMPT).logits
    assert distance([Invoked(model)(input_ids=PROMPT).logits], [expected]) < 1e-6
    acc.write_peft(adapter, tmp_path / "ours")
    ours, theirs = (load_file(tmp_path / each / "adapter_model.safetensors") for each in ("ours", "theirs"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    after, before = (json.loads((tmp_path / each / "adapter_config.json").read_text()) for each in ("ours", "theirs"))
    worded = {"target_modules", "task_type", "auto_mapping"}
    assert {k: after[k] for k in after if k not in worded} == {k: before[k] for k in before if k not in worded}
    again = peft.PeftModelForCausalLM.from_pretrained(models.seeded(case("llama").make), tmp_path / "ours")
    assert distance([again(input_ids=PROMPT).logits], [expected]) < 1e-6


def test_two_variants_at_once_are_refused(tmp_path: Path) -> None:
    adapter = acc.attach(line(), {acc.InvokedLoRA(2): "0.weight", acc.VeLoRA(2): "2.weight"})
    with pytest.raises(PeftError, match="one variant for all of an adapter"):
        acc.write_peft(adapter, tmp_path)


@pytest.mark.parametrize(
    "said", [{"alora_invocation_tokens": "5"}, {"velora_config": {"init_type": "batch_average_once"}}]
)
def test_a_variant_that_is_not_here_is_refused(said: dict[str, Any], tmp_path: Path) -> None:
    acc.write_peft(acc.attach(line(), acc.LoRA(2), at="0.weight"), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | said))
    with pytest.raises(PeftError, match="was expected"):
        acc.read_peft(line(), tmp_path, name="read")


def test_since_is_what_a_walk_over_the_places_finds() -> None:
    ids = torch.randint(0, 3, (40, 6), generator=torch.Generator().manual_seed(0))
    for words in ((1,), (1, 2), (0, 0, 1), (1,) * 7):
        for row, found in zip(ids.tolist(), since(ids, words).tolist(), strict=True):
            starts = [at for at in range(6) if tuple(row[at : at + len(words)]) == words]
            assert found == (6 - max(starts) if starts else 0)


def test_a_prompt_of_other_rows_is_refused() -> None:
    base = line()
    acc.attach(base, acc.InvokedLoRA(2), at="0.weight")
    with given(prompt=PROMPT), pytest.raises(MethodError, match="said of 4 rows, and 2 passed"):
        base(models.noise(2, 12))


def velora(**settings: Any) -> peft.LoraConfig:
    return peft.LoraConfig(r=4, lora_alpha=6, target_modules=["0", "2"], velora_config=VeloraConfig(**settings))


@pytest.mark.parametrize(("groups", "along"), [(3, "mean"), (5, "mean"), (4, "drawn"), (64, "mean")])
def test_forwards_as_lora_and_back_as_velora(groups: int, along: Any) -> None:
    at, x = ["0.weight", "2.weight"], models.noise(5, 3, 12)
    config = velora(num_groups=groups, scale=0.7, init_type="random" if along == "drawn" else "batch_average")
    base, adapter, there = both(acc.VeLoRA(4, 6.0, groups=groups, gain=0.7, along=along), line, at, config)
    plain, other, _ = both(acc.LoRA(4, 6.0), line, at, config)
    found = dict(adapter.modules())
    layers = {key: there.base_model.model[int(key[0])] for key in found}
    if along == "drawn":
        for key, layer in layers.items():
            layer.lora_velora_embed["default"].copy_(found[key].direction)
    x.requires_grad_(True)
    gradients, outputs = [], []
    for model in (base, there, plain):
        outputs.append(model.train()(x))
        outputs[-1].square().sum().backward()
        gradients.append(x.grad)
        x.grad = None
    assert torch.equal(outputs[0], outputs[2]) and torch.equal(gradients[0], gradients[2]), (
        "forward and down it is LoRA"
    )
    assert distance([outputs[0], gradients[0]], [outputs[1], gradients[1]]) < 1e-6
    for key, module in adapter.modules():
        theirs = layers[key]
        mine = [module.down.grad, module.up.grad]
        assert distance(mine, [theirs.lora_A["default"].weight.grad, theirs.lora_B["default"].weight.grad]) < 1e-5
        exact: Any = dict(other.modules())[key]
        assert torch.equal(module.up.grad, exact.up.grad)
        assert not torch.allclose(module.down.grad, exact.down.grad, rtol=1e-2)


def test_pieces_of_one_number_lose_only_what_the_mean_lacks() -> None:
    """With as many groups as inputs and v = 1 nothing is lost."""
    x, at = models.noise(5, 12), "0.weight"
    gradients = []
    for method in (acc.VeLoRA(2, groups=12), acc.LoRA(2)):
        base = line().train()
        adapter = shake(acc.attach(base, method, at=at))
        base(x).sum().backward()
        gradients.append(dict(adapter.modules())[at].down.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-6)


def test_less_is_saved_for_backward() -> None:
    saved = {}
    for method in (acc.LoRA(2), acc.VeLoRA(2, groups=4)):
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(64, 64, bias=False)).train()
        adapter = acc.attach(base, method, at="0.weight")
        saved[type(method)] = adapter.cost(models.noise(256, 64)).saved_bytes
    whole, few = 4 * 256 * 64, 4 * 256 * 4
    assert saved[acc.LoRA] >= whole
    assert saved[acc.VeLoRA] <= saved[acc.LoRA] - whole + few + 4 * 2 * 2 * 64


def monte() -> tuple[nn.Module, acc.Adapter, Any]:
    config = peft.LoraConfig(
        r=3, lora_alpha=6, target_modules=["0", "2"],
        monteclora_config=MontecloraConfig(
            num_samples=4, sample_scaler=0.1, buffer_size=1, dirichlet_prior=0.5, kl_loss_weight=0.1
        ),
    )  # fmt: skip
    method = acc.MonteCLoRA(3, 6.0, samples=4, size=0.1, prior=0.5, pull=0.1)
    base, adapter, there = both(method, line, ["0.weight", "2.weight"], config)
    with torch.no_grad():
        for key, module in adapter.modules():
            sampler = there.base_model.model[int(key[0])].lora_monteclora_sampler["default"]
            sampler.std_prior.copy_(module.spread)
            sampler.expert_weights_prior.copy_(module.shares)
    return base, adapter, there


@torch.no_grad()
def test_drawn_as_in_peft() -> None:
    base, adapter, there = monte()
    x = models.noise(5, 12)
    assert distance([base.eval()(x)], [there.eval()(x)]) < 1e-6
    for key, module in adapter.modules():
        sampler = there.base_model.model[int(key[0])].lora_monteclora_sampler["default"]
        drawn = sampler.sampler.get()
        sampler.sampler.index = 0
        noise, p = sampler()
        sampler.sampler.index = 0
        theirs = torch.einsum("n,nij->ij", p, noise).mT
        ours = module.moved_by(drawn["z_mvn"].mT, drawn["z_wishart"].diag(), drawn["z_dirichlet"])
        assert distance([ours], [theirs]) < 1e-5
        module.down.add_(ours)  # what their model draws below
    assert distance([base(x)], [there.train()(x)]) < 1e-5


@torch.no_grad()
def test_drawn_in_training_alone_around_what_is_merged() -> None:
    base, adapter, _ = monte()
    x = models.noise(5, 12)
    mean = base.eval()(x)
    assert torch.equal(base(x), mean)
    base.train()
    many = torch.stack([base(x) for _ in range(400)])
    assert many.std(0).max() > 0.01
    assert (many.mean(0) - mean).abs().max() < 5 * many.std(0).max() / 20 + 0.02  # the tanh between bends the mean
    assert distance([adapter.merge(keep=False).eval()(x)], [mean]) < 1e-6  # type: ignore[union-attr]


def test_pulled_towards_the_priors_as_in_peft() -> None:
    """Their Dirichlet's KL adds a sum where the divergence subtracts it; the rest is theirs, the noise's in the mean over draws."""
    _, adapter, there = monte()
    for key, module in adapter.modules():
        sampler = there.base_model.model[int(key[0])].lora_monteclora_sampler["default"]
        a = module.shares.exp()
        usual = torch.distributions.kl_divergence(
            torch.distributions.Dirichlet(a), torch.distributions.Dirichlet(torch.full_like(a, 0.5))
        )
        assert torch.allclose(module.of_shares(), usual, rtol=1e-5)
        turned = 2 * (a.lgamma() - torch.full_like(a, 0.5).lgamma()).sum()
        assert torch.allclose(module.of_shares() + turned, sampler.dirichlet_kl(a), rtol=1e-4)
        assert torch.allclose(module.of_spread(), sampler.wishart_kl(torch.diag(module.spread.exp())), rtol=1e-5)
        chi = torch.distributions.Chi2(3.0).sample((20000, 3))
        drawn = (2 * module.spread).exp() * chi
        each = 0.5 * 4 * (drawn.sum(-1) - drawn.log().sum(-1) - 3)
        assert torch.allclose(module.of_noise(), each.mean(), rtol=0.05)
        one = (2 * module.spread).exp() * 2.0
        assert torch.allclose(
            sampler.multivariate_kl(torch.diag(one)), 2 * (one.sum() - one.log().sum() - 3), rtol=1e-5
        )
        parts = module.of_shares() + module.of_spread() + module.of_noise()
        assert torch.allclose(module.penalty(), 0.1 * parts)
        module.penalty().backward()
        assert module.spread.grad is not None and module.shares.grad is not None
