"""Law 11: where one method is another with a setting, the two compute the same.

Each row of the table is a pair of methods at the same places of the same model, in float64, and how the parameters of
the one give those of the other. The first is moved as if trained; both must then differ from the base, and not from
each other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import Tied
from table import build, case, distance, outputs, shake
from torch import Tensor, nn
from torch.nn import functional as F

from acclimate.bench.unified import change, written_out
from acclimate.data import Batches
from acclimate.engine import Adapter, Method, attach
from acclimate.engine.batch import map_tensors
from acclimate.loops import finetune, fit
from acclimate.losses import CrossEntropy
from acclimate.methods import (
    Affine,
    Bottleneck,
    Compacter,
    DiffusedPrompt,
    DoRA,
    Full,
    GatedPrompt,
    GLoRA,
    GranularBottleneck,
    Head,
    LoRA,
    LoRAGroup,
    PLaplacian,
    Prefix,
    RandomBottleneck,
    Scale,
    Sparse,
    SplitBottleneck,
    TokenRouter,
)
from acclimate.methods.sparse import scattered
from acclimate.rules import Gradient
from acclimate.sites import find

Give = Callable[[Any, Any], dict[str, Tensor]]
"""(the first's module at a site, the base's matrix there) to the second's parameters by role; the rest are zero."""


@dataclasses.dataclass(frozen=True)
class Pair:
    """``first`` with its parameters given to ``second`` is ``second``."""

    name: str
    first: Method
    second: Method
    at: Any
    models: tuple[str, ...]
    give: Give
    hold: tuple[str, ...] = ()
    """Roles of the first that stay as they were made."""


def _norms(V: Tensor) -> Tensor:
    return V.norm(dim=-1, keepdim=True)


PAIRS = [
    Pair(
        "low rank is a parallel bottleneck of identity activation",
        LoRA(rank=3, alpha=6), Bottleneck(width=3, activation="identity", reads="input", scale=2.0), ("o", "down"),
        ("bert", "vit"), lambda m, W: {"down": m.down, "up": m.up},
    ),
    Pair(
        "low rank of every rank is full",
        Full(), LoRA(rank=16), ("q", "o"), ("bert", "vit"),
        lambda m, W: {"up": m.delta, "down": torch.eye(16).to(m.delta)},
    ),
    Pair(
        "alpha scales the update",
        LoRA(rank=2, alpha=6), LoRA(rank=2), "attention", ("bert", "gpt2", "encoder"),
        lambda m, W: {"down": m.down, "up": 3 * m.up},
    ),
    Pair(
        "low rank with rows of zeros is of lower rank",
        LoRA(rank=2), LoRA(rank=3), "attention", ("bert", "gpt2", "encoder"),
        lambda m, W: {"down": F.pad(m.down, (0, 0, 0, 1), value=0.5), "up": F.pad(m.up, (0, 1))},
    ),
    Pair(
        "magnitudes of the moved rows leave plain low rank",
        LoRA(rank=2), DoRA(rank=2), "attention", ("bert", "gpt2", "encoder"),
        lambda m, W: {"down": m.down, "up": m.up, "magnitude": _norms(m.weight(W))},
    ),
    Pair(
        "magnitudes alone are a factor on each row",
        DoRA(rank=2), Full(), "attention", ("bert", "gpt2", "encoder"),
        lambda m, W: {"delta": (m.magnitude / _norms(W) - 1) * W}, hold=("up",),
    ),
    Pair(
        "a factor on each row is an affine map without its shift",
        Scale(), Affine(), ("o", "down"), ("bert", "vit"),
        lambda m, W: {"scale": m.scale, "shift": torch.zeros_like(m.scale)},
    ),
    Pair(
        "a factor on each row of a weight without a bias is a change of magnitudes",
        Scale(), DoRA(rank=2), ("middle.weight", "head.weight"), ("unbiased",),
        lambda m, W: {"magnitude": m.scale.unsqueeze(-1) * _norms(W), "down": torch.zeros(2, W.shape[1]).to(W)},
    ),
    Pair(
        "a block on every token beside a light adapter is a parallel bottleneck",
        TokenRouter(keep=1, width=3), Bottleneck(width=3, reads="input"), "block", ("bert", "vit", "gpt2", "encoder"),
        lambda m, W: {"down": m.down, "up": m.up}, hold=("router",),
    ),
    Pair(
        "a gate on each channel is in the second matrix of a bottleneck",
        GranularBottleneck(width=3, gate="channel"), Bottleneck(width=3), ("o", "down"), ("bert", "vit"),
        lambda m, W: {
            "down": m.down, "down_bias": m.down_bias, "up": m.gated(m.up).unsqueeze(-1) * m.up,
            "up_bias": m.gated(m.up) * m.up_bias,
        },
    ),
    Pair(
        "sums of Kronecker products are matrices of a bottleneck",
        Compacter(width=2, factors=4), Bottleneck(width=8), ("o", "down"), ("bert", "vit"),
        lambda m, W: {
            "down": _kron(m.rule, m.down_left, m.down_right), "down_bias": m.down_bias,
            "up": _kron(m.rule, m.up_left, m.up_right), "up_bias": m.up_bias,
        },
    ),
    Pair(
        "random features are a bottleneck whose first matrix is drawn",
        RandomBottleneck(width=5), Bottleneck(width=5), ("o", "down"), ("bert", "vit"),
        lambda m, W: {"down": m.features, "up": m.up, "up_bias": m.up_bias},
    ),
    Pair(
        "a bottleneck that was trained by parts is used as one",
        SplitBottleneck(width=4), Bottleneck(width=4), "block", ("bert", "vit", "gpt2"),
        lambda m, W: dict(m.named_parameters()),
    ),
    Pair(
        "a map whose edges all count as they did leaves a bottleneck behind attention",
        PLaplacian(width=3, p=2), Bottleneck(width=3), "attention", ("bert", "vit"),
        lambda m, W: dict(m.named_parameters()),
    ),
    Pair(
        "prompts of thin factors are prompts behind a gate that is open",
        DiffusedPrompt(length=5, rank=2), GatedPrompt(length=5), "attention", ("bert", "vit", "gpt2", "encoder"),
        lambda m, W: {
            "key": m.key_left @ m.key_right, "value": m.value_left @ m.value_right,
            "gate": torch.full((len(m.key_left), 1, 1), 30.0),
        },
    ),
    Pair(
        "the update alone of all that a layer can be given is low rank",
        GLoRA(rank=2, factor="none", prompt="none", bias_factor="none", bias_update="none"), LoRA(rank=2), "attention",
        ("bert", "gpt2", "encoder"), lambda m, W: {"down": m.update_down, "up": m.update_up},
    ),
    Pair(
        "factors and offsets of channels are an affine map",
        Affine(), GLoRA(factor="vector", update="none", prompt="none"), ("o", "down"), ("bert", "vit"),
        lambda m, W: {
            "factor": m.scale[:, None] - 1, "bias_factor": m.scale[:, None] - 1, "bias_update": m.shift[:, None],
        },
    ),
    Pair(
        "a group is low rank of all its ranks",
        LoRAGroup(rank=2, members=2), LoRA(rank=4), "attention", ("bert", "gpt2", "encoder"),
        lambda m, W: {"down": m.down, "up": m.up},
    ),
    Pair(
        "values on some places are a full update that is zero elsewhere",
        Sparse(density=0.2), Full(), "attention", ("bert", "encoder"),
        lambda m, W: {"delta": scattered(torch.zeros_like(W), m.places, m.values)},
    ),
]  # fmt: skip


def _kron(rule: Tensor, left: Tensor, right: Tensor) -> Tensor:
    terms = [torch.kron(A, torch.outer(s, t)) for A, s, t in zip(rule, left, right, strict=True)]
    return torch.stack(terms).sum(0)


class Unbiased(Tied):
    """Two weights that nothing is added to."""

    def __init__(self) -> None:
        super().__init__()
        self.middle, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 50, bias=False)


def _model(name: str) -> tuple[nn.Module, Any]:
    """A model in float64, and a batch for it."""
    if name == "unbiased":
        torch.manual_seed(0)
        return Unbiased().double().eval(), case("tied").batch()
    batch = map_tensors(case(name).batch(), lambda t: t.double() if t.is_floating_point() else t)
    return build(case(name)).double(), batch


def _moved(model: nn.Module, method: Method, at: Any, hold: tuple[str, ...] = ()) -> Adapter:
    adapter = attach(model, method, at=at)
    model.double()
    kept = {n: p.detach().clone() for n, p in adapter.named_parameters() if n.rpartition("/")[2] in hold}
    shake(adapter)
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if name in kept:
                parameter.copy_(kept[name])
    return adapter


@pytest.mark.parametrize(
    ("pair", "name"), [(p, m) for p in PAIRS for m in p.models], ids=lambda v: getattr(v, "name", v)
)
@torch.no_grad()
def test_one_method_is_another(pair: Pair, name: str) -> None:
    (one, batch), (other, _) = _model(name), _model(name)
    before = outputs(one, batch)
    first = _moved(one, pair.first, pair.at, pair.hold)
    second = attach(other, pair.second, at=pair.at)
    other.double()
    matrices = {site.key: site.value() for site in find(other, "weight")}
    for (_, module), (key, mine) in zip(first.modules(), second.modules(), strict=True):
        given = pair.give(module, matrices.get(key))
        for role, parameter in mine.named_parameters():
            parameter.copy_(given.get(role, torch.zeros_like(parameter)))
    y = outputs(one, batch)
    assert distance(outputs(other, batch), y) < 1e-10
    assert distance(before, y) > 1e-4


@pytest.mark.parametrize("name", ["bert", "vit"])
@torch.no_grad()
def test_a_prefix_is_a_gated_parallel_change(name: str) -> None:
    (one, batch), (other, _), (added, _) = _model(name), _model(name), _model(name)
    before = outputs(one, batch)
    adapter = _moved(one, Prefix(length=3), "all")
    y = outputs(one, batch)
    change(other, written_out(adapter))
    assert distance(outputs(other, batch), y) < 1e-10
    change(added, written_out(adapter, "added"))
    assert min(distance(outputs(added, batch), y), distance(before, y)) > 1e-4


@pytest.mark.parametrize("reads", ["output", "input"])
@torch.no_grad()
def test_a_bottleneck_is_its_formula(reads: Any) -> None:
    (one, batch), (other, _) = _model("bert"), _model("bert")
    before = outputs(one, batch)
    adapter = _moved(one, Bottleneck(width=3, activation="relu", reads=reads, scale=0.5), ("o", "down"))
    y = outputs(one, batch)
    change(other, written_out(adapter))
    assert distance(outputs(other, batch), y) < 1e-10
    assert distance(before, y) > 1e-4


@torch.no_grad()
def test_a_head_of_the_old_matrix_is_the_old_head() -> None:
    model, batch = _model("vit")
    before = outputs(model, batch)
    adapter = attach(model, Head(classes=5), at="classifier")
    model.double()
    assert distance(outputs(model, batch), before) > 1e-4
    old = {"matrix": model.classifier.weight, "offset": model.classifier.bias}
    for name, parameter in adapter.named_parameters():
        parameter.copy_(old[name.rpartition("/")[2]])
    assert distance(outputs(model, batch), before) < 1e-10


def _taught(rates: dict[str, float]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    adapter = attach(model, LoRA(rank=2), at="all")
    generator = torch.Generator().manual_seed(1)
    data = Batches(torch.randn(24, 8, generator=generator), torch.arange(24) % 3, 8)
    fit(model, data, CrossEntropy(), finetune(epochs=3), Gradient(rates=rates), progress=False)
    return adapter.tensors()


def test_lora_plus_of_ratio_one_is_lora_to_the_bit() -> None:
    plain, one, more = (_taught(rates) for rates in ({}, {"up": 1.0}, {"up": 16.0}))
    assert all(torch.equal(value, one[name]) for name, value in plain.items())
    assert all(not torch.equal(value, more[name]) for name, value in plain.items() if name.endswith("/up"))
    assert all(bool(value.count_nonzero()) for value in plain.values())
