"""Rows go to the experts of their domain, losses of routes are their formulas, and a stream begins where a warm start ended."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from acclimate.engine import Adapter, MethodError, attach
from acclimate.loops import Adaptation, LoopError, fit, many_domains, routed_domains, stream
from acclimate.losses import CrossEntropy, DomainExpertInformation, Entropy, LossError, Routed, Seen
from acclimate.methods import Bottleneck, DomainExperts, LoRA
from acclimate.methods.domain_experts import Routing
from acclimate.methods.given import given, said
from acclimate.methods.judged import Judged
from acclimate.players import WarmStart
from acclimate.rules import Gradient

DOMAIN = torch.tensor([0, 2, 1, 1, 2, 0])
SYNERGY = CrossEntropy() + 0.1 * DomainExpertInformation()


def routed(method: DomainExperts) -> tuple[nn.Module, Adapter, Any, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 5, 3))
    adapter = attach(model, method, at="0", name="experts")
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.add_(torch.randn_like(parameter) / 2)
    ((_, module),) = adapter.modules()
    return model, adapter, module, torch.randn(6, 2, 5, 5) * torch.arange(6).view(6, 1, 1, 1)


@pytest.mark.parametrize("top", [1, 2, 4])
@pytest.mark.parametrize("told", [True, False])
def test_a_row_passes_the_largest_experts_of_its_domain(top: int, told: bool) -> None:
    model, adapter, module, x = routed(DomainExperts(width=2, top=top, domains=3, activation="tanh"))
    adapter.disable()
    y = model(x).movedim(1, -1)
    adapter.enable()
    routes: list[Routing] = []
    with given(routes=routes, **({"domain": DOMAIN} if told else {})):
        found = model(x)
    expected = []
    for row, domain in zip(y, DOMAIN.tolist(), strict=True):
        router = module.router[domain] if told else sum(module.router) / 3
        scores = router @ row.flatten(0, 1).mean(0)
        order = scores.argsort(descending=True)[:top].tolist()
        total = sum(math.exp(scores[i]) for i in order)
        made = row + module.up_bias
        for i in order:
            own = slice(2 * i, 2 * i + 2)
            middle = torch.tanh(row @ module.down[own].T + module.down_bias[own])
            made = made + math.exp(scores[i]) / total * middle @ module.up[:, own].T
        expected.append(made)
    torch.testing.assert_close(found.movedim(1, -1), torch.stack(expected))
    ((shares, chosen),) = routes
    torch.testing.assert_close(shares.sum(1), torch.ones(6))
    assert (chosen > 0).sum(1).tolist() == [top] * 6


def test_one_expert_is_a_bottleneck() -> None:
    model, adapter, module, x = routed(DomainExperts(width=3, experts=1, top=1))
    found = model(x)
    adapter.disable()
    plain = attach(model, Bottleneck(width=3), at="0", name="plain")
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            parameter.copy_(getattr(module, name.rpartition("/")[2]))
    torch.testing.assert_close(model(x), found)


def test_answers_teach_experts_and_the_routers_of_domains_that_come() -> None:
    model, _, module, x = routed(DomainExperts(width=2))
    with given(domain=DOMAIN):
        model(x).square().sum().backward()
    assert all(each.grad is not None and each.grad.any() for each in (module.down, module.up))
    assert [bool(each.any()) for each in module.router.grad] == [True, True, True, False]


def test_a_judge_says_the_domain_unless_it_is_said() -> None:
    class Heard(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(said("domain")).expand(len(x))

    judge = nn.Linear(3, 3)
    model, x = Judged(Heard(), judge), torch.randn(6, 3)
    assert model(x).tolist() == judge(x).argmax(1).tolist()
    with given(domain=2):
        assert model(x).tolist() == [2] * 6


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MethodError, match="top=5"):
        DomainExperts(top=5)
    model, _, _, x = routed(DomainExperts(width=2, domains=3))
    with pytest.raises(MethodError, match="say it of each row"), given(domain=DOMAIN[:2]):
        model(x)
    with pytest.raises(MethodError, match="from 0 to 2"), given(domain=3):
        model(x)


def shares_of(seed: int) -> Routed:
    torch.manual_seed(seed)
    shares = [torch.randn(6, 4).softmax(1) for _ in range(2)]
    return Routed(None, None, torch.zeros(6, 2), domain=DOMAIN, shares=shares)


def test_information_is_that_of_the_joint_probabilities() -> None:
    seen, expected = shares_of(0), []
    for shares in seen.shares:
        joint = torch.stack([shares[domain == DOMAIN].mean(0) for domain in range(3)]) / 3
        apart = joint.sum(0, keepdim=True) * joint.sum(1, keepdim=True)
        expected.append((joint * (joint / apart).log()).sum())
    torch.testing.assert_close(DomainExpertInformation()(seen), -sum(expected) / 2)
    with pytest.raises(LossError, match="routed_domains"):
        DomainExpertInformation()(Seen(None, None, torch.zeros(1, 2)))


def taught(method: Any, loop: Any, loss: Any) -> tuple[nn.Module, Adapter]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    adapter = attach(model, method, at="0" if isinstance(method, DomainExperts) else "0.weight", name="warm")
    data = {name: (torch.randn(24, 4) + shift, torch.arange(24) % 3) for name, shift in {"one": 0, "two": 3}.items()}
    fit(model, data, loss, loop, Gradient(lr=3e-2), progress=False)
    return model, adapter


def test_domains_come_apart_and_a_stream_begins_there_to_the_bit() -> None:
    method = DomainExperts(width=2, domains=2, top=1)
    model, adapter = taught(method, routed_domains(epochs=30), SYNERGY)
    routes: list[Routing] = []
    with torch.no_grad(), given(routes=routes, domain=torch.arange(2).repeat_interleave(40)):
        model(torch.cat([torch.randn(40, 4), torch.randn(40, 4) + 3]))
    apart = routes[0].chosen[:40].mean(0) - routes[0].chosen[40:].mean(0)
    assert apart.abs().sum() / 2 > 0.8
    warm = {name: tensor.detach().clone() for name, tensor in adapter.tensors().items()}
    adapter.detach()
    rule = Gradient(lr=1e-2, optimiser="adam", schedule="constant", warmup=0)
    row = Adaptation({method: "0"}, Entropy(), rule, (WarmStart(warm),))
    batches = torch.randn(3, 16, 4, generator=torch.Generator().manual_seed(1))
    with stream(model, row, guard=False) as live:
        assert all(torch.equal(tensor, warm[name]) for name, tensor in live.adapter.tensors().items())
        first = [live(batch) for batch in batches]
        moved = {name for name, tensor in live.adapter.tensors().items() if not torch.equal(tensor, warm[name])}
        assert {name.rpartition("/")[2] for name in moved} >= {"down", "up"}
        live.reset()
        assert all(torch.equal(live(batch), before) for batch, before in zip(batches, first, strict=True))


def test_a_warm_start_of_another_shape_or_a_model_that_does_not_route_is_refused() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="nothing for 0/weight"):
        WarmStart({}).begin(layer, [("0.weight", layer.weight)])
    with pytest.raises(ValueError, match=r"a tensor \(1,\)"):
        WarmStart({"0/weight": torch.ones(1)}).begin(layer, [("0.weight", layer.weight)])
    with pytest.raises(LoopError, match="attach DomainExperts"):
        taught(LoRA(rank=1), routed_domains(), CrossEntropy())
    with pytest.raises(LoopError, match="routes"):
        taught(DomainExperts(width=2, domains=2), many_domains(), SYNERGY)
