"""What is kept is less, and everything else is what it was: outputs to the bit, gradients to rounding, the model untouched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate import BatchStatistics, Full, LoRA, MetaNetwork
from acclimate.bench.resnet import ResNet
from acclimate.engine import attach, saved_bytes
from acclimate.loops import lean


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CALLS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], dict[str, Tensor]]] = {
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, padding=1), (2, 4, 9), {"w": drawn(6, 4, 3), "b": drawn(6)}),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1)), (2, 4, 9, 8), {"w": drawn(6, 4, 3, 3), "b": drawn(6)}),
    "conv3d": (lambda x, w, b: F.conv3d(x, w, b), (2, 4, 5, 6, 4), {"w": drawn(2, 4, 3, 3, 3), "b": drawn(2)}),
    "same": (lambda x, w, b: F.conv2d(x, w, b, padding="same"), (2, 4, 9, 8), {"w": drawn(6, 4, 3, 3), "b": drawn(6)}),
    "one image": (lambda x, w, b: F.conv2d(x, w, b), (4, 9, 8), {"w": drawn(6, 4, 3, 3), "b": drawn(6)}),
    "batch norm": (
        lambda x, m, v, w, b: F.batch_norm(x, m, v.abs() + 0.5, w, b),
        (5, 4, 3),
        {"m": drawn(4), "v": drawn(4, seed=1), "w": drawn(4, seed=2), "b": drawn(4, seed=3)},
    ),
    "batch norm of a batch": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        (5, 4, 3),
        {"w": drawn(4), "b": drawn(4, seed=1)},
    ),
    "bare norm": (lambda x, m, v: F.batch_norm(x, m, v.abs() + 0.5), (5, 4, 3), {"m": drawn(4), "v": drawn(4, seed=1)}),
    "relu": (F.relu, (5, 4), {}),
    "relu in place": (lambda x: F.relu(x * 1, inplace=True), (5, 4), {}),
    "relu of a tensor": (lambda x: x.relu(), (5, 4), {}),
    "relu of torch": (torch.relu, (5, 4), {}),
}


@pytest.mark.parametrize("learning", ["", "x", "w", "b", "xwb"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_gives_what_it_gives(name: str, learning: str) -> None:
    call, shape, held = CALLS[name]
    found = []
    for context in (None, lean()):
        given = {"x": drawn(*shape, seed=9), **{name: tensor.clone() for name, tensor in held.items()}}
        asked = [tensor.requires_grad_() for name, tensor in given.items() if name in learning]
        if context is None:
            y = call(*given.values())
        else:
            with context:
                y = call(*given.values())
        assert y.requires_grad == bool(asked)
        gradients = torch.autograd.grad(y, asked, drawn(*y.shape, seed=4)) if asked else ()
        found.append((y.detach(), gradients))
    (plain, gradients), (lesser, others) = found
    assert torch.equal(plain, lesser)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("call", [F.relu, lambda x: F.conv2d(x, drawn(4, 4, 3, 3))])
def test_a_gradient_has_a_gradient(call: Callable[[Tensor], Tensor]) -> None:
    found = []
    for context in (torch.enable_grad(), lean()):
        x = drawn(2, 4, 5, 5).requires_grad_()
        with context:
            (first,) = torch.autograd.grad(call(x).square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), x)[0])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", [name for name in CALLS if "relu" not in name])
def test_under_autocast_a_call_gives_what_autocast_makes_of_it(name: str) -> None:
    call, shape, held = CALLS[name]
    x, found = drawn(*shape).requires_grad_(), []
    for context in (torch.enable_grad(), lean()):
        with context, torch.autocast("cpu", torch.bfloat16):
            found.append(call(x, *held.values()))
    assert found[0].dtype == found[1].dtype and torch.equal(*found)


def network() -> nn.Module:
    model = ResNet(2).eval().requires_grad_(False)
    for number, each in enumerate(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        assert each.running_mean is not None and each.running_var is not None
        each.running_mean.copy_(0.1 * drawn(len(each.running_mean), seed=number))
    return model


METHODS = {
    "biases": ({Full(): ["*.bias"]}, 0.3),
    "beside the last part": ({BatchStatistics(): "all", MetaNetwork(): ["layer2.1.conv2", "layer3.1.conv2"]}, 0.8),
    "low rank": ({LoRA(rank=2): ["layer1.*"]}, 0.9),
}


@pytest.mark.parametrize("which", METHODS)
def test_an_adapter_learns_the_same_from_less(which: str) -> None:
    method, share = METHODS[which]
    model, images = network(), drawn(4, 3, 32, 32)
    adapter = attach(model, method)  # type: ignore[arg-type]
    with torch.no_grad():
        for number, parameter in enumerate(adapter.parameters()):
            parameter.add_(0.02 * drawn(*parameter.shape, seed=number))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found, kept = [], []
    for context in (torch.enable_grad(), lean()):
        with context:
            kept.append(saved_bytes(model, images))
            found.append(torch.autograd.grad(model(images).logsumexp(1).sum(), list(adapter.parameters())))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)
    assert kept[1] < share * kept[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
