"""Methods against PEFT's own modules: given the same numbers, the same outputs, and before that the same base."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from models import noise
from table import distance
from torch import Tensor, nn

import acclimate as acc
from acclimate.engine import Method

Give = Callable[[Any, Any], None]
"""(their layer, our module): ours takes their numbers."""


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 16, bias=False), nn.Tanh(), nn.Linear(16, 4))


def embedding() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 4))


def put(module: Any, **values: Tensor) -> None:
    for name, value in values.items():
        held = getattr(module, name)
        assert held.shape == value.shape, (name, held.shape, value.shape)
        held.copy_(value)


def own(layer: Any, prefix: str, name: str = "default") -> Callable[[str], Tensor]:
    """Their numbers by the end of their name."""

    def get(role: str) -> Tensor:
        found = getattr(layer, prefix + role)[name]
        return found if isinstance(found, Tensor) else found.weight

    return get


@dataclasses.dataclass(frozen=True)
class Same:
    """A method of ours and a configuration of theirs that compute the same."""

    method: Method
    config: Callable[[list[str]], Any]
    give: Give
    make: Callable[[], nn.Sequential] = network
    x: Tensor = dataclasses.field(default_factory=lambda: noise(5, 12))
    targets: tuple[str, ...] = ("0", "2")
    close: float = 1e-5
    size: float = 0.3

    def __str__(self) -> str:
        return repr(self.method).replace(" ", "")


def _delora(layer: Any, m: Any) -> None:
    get = own(layer, "delora_")
    put(m, down=get("A"), up=get("B"), strength=get("lambda"))


def _waveft(layer: Any, m: Any) -> None:
    rows, columns = layer.waveft_indices["default"]
    assert torch.equal(m.rows, rows) and torch.equal(m.columns, columns), "the same places from the same seed"
    put(m, spectrum=layer.waveft_spectrum["default"])


def _psoft(layer: Any, m: Any) -> None:
    orth = layer.psoft_R["default"]
    a = layer._get_psoft_ab_cache_buffers("default")[0]
    turn = (m.into * a).sum(-1).sign()
    assert torch.allclose(turn, torch.ones_like(turn)), "the same signs of the same decomposition"
    # Their skew matrix turns the other way.
    put(m, angles=-orth.weight, after=orth.vector_b, before=orth.vector_a)


def _osf(layer: Any, m: Any) -> None:
    held = layer.osf_svd_params["default"]
    # What of a change lies in the large directions their hooks keep out of the gradient; here it has no effect.
    above, across = m.above, m.across
    for their, start in (("U_low", m.left0), ("V_low", m.right0)):
        moved = held[their] - start
        out = above @ (above.mT @ moved) if their == "U_low" else (moved @ across.mT) @ across
        held[their].sub_(out)
    put(m, left=held["U_low"] - m.left0, right=held["V_low"] - m.right0, values=held["S_low"])


def _tiny(layer: Any, m: Any) -> None:
    put(m, values=layer.tinylora_v["default"][layer._tinylora_v_key["default"]], inner=layer.tinylora_P["default"])
    assert torch.allclose(m.into, layer.tinylora_A["default"], atol=1e-6), "the same signs of the same decomposition"


def _uni(layer: Any, m: Any) -> None:
    put(m, theta=layer.unilora_theta_d["default"])
    put(m, down_at=layer.unilora_indices_A["default"], up_at=layer.unilora_indices_B["default"])
    # Which numbers stand in one place more is drawn otherwise there.
    m.size[m.down_at], m.size[m.up_at] = layer.unilora_scales_A["default"], layer.unilora_scales_B["default"]


def _deft(layer: Any, m: Any) -> None:
    put(m, directions=layer.deft_P["default"], down=layer.deft_R["default"])


def _peanut(layer: Any, m: Any) -> None:
    get = own(layer, "peanut_")
    put(m, down=get("A"), up=get("B"))
    for name, theirs in (("inner", layer.peanut_encoders), ("outer", layer.peanut_decoders)):
        if m.method.depth:
            put(m, **{name: torch.stack([each.weight for each in theirs["default"]])})


def _factors(layer: Any, m: Any) -> None:
    get = own(layer, "lora_")
    put(m, down=get("A"), up=get("B"))


def _kasa(layer: Any, m: Any) -> None:
    _factors(layer, m)
    put(m, values=layer.lora_diag["default"])


def _pvera(layer: Any, m: Any) -> None:
    lambdas = own(layer, "pvera_lambda_")
    put(m, middle=lambdas("d"), scale=lambdas("b"))
    out, into = m.layout.shape
    m.A, m.B = layer.pvera_A["default"][:, :into], layer.pvera_B["default"][:out]  # ours are in common with other sites


def _lily(layer: Any, m: Any) -> None:
    get = own(layer, "lily_")
    put(m, down=get("A"), up=get("B").reshape(m.method.experts, m.method.rank, -1).mT, router=get("router"))


def _frod(layer: Any, m: Any) -> None:
    basis = layer.frod_V["default"]
    signs = basis.gather(0, basis.abs().argmax(0, keepdim=True))[0].sign()
    assert torch.equal(m.basis, basis * signs) and torch.allclose(m.left, layer.frod_U["default"] * signs)
    rows, columns = layer.frod_s_indices["default"]
    assert torch.equal(m.spots, torch.stack([rows, columns]))
    put(m, lengths=layer.frod_lambda_l["default"])
    put(m, values=layer.frod_lambda_s_values["default"] * signs[rows] * signs[columns])


def _adamss(layer: Any, m: Any) -> None:
    assert torch.equal(m.basis, layer.adamss_newB["default"]), "the same projections from the same seed"
    for number, (down, up) in enumerate(zip(layer.adamss_A["default"], layer.adamss_B["default"], strict=True)):
        rows = layer.seg_result["default"][number]
        assert torch.equal(rows, (m.group == number).nonzero().flatten()), "the same groups"
        m.down[number] = 0
        m.down[number, : len(down)], m.up[rows, : len(down)] = down, up


def lora(**settings: Any) -> Callable[[list[str]], Any]:
    return lambda at: peft.LoraConfig(r=4, lora_alpha=6, target_modules=at, **settings)


def bdlora(side: str) -> Callable[[list[str]], Any]:
    named = {f"target_modules_bd_{side}": ["0", "2"]}
    return lora(use_bdlora=peft.tuners.lora.config.BdLoraConfig(nblocks=2, **named))


ROWS = [
    Same(acc.DeLoRA(rank=3), lambda at: peft.DeloraConfig(r=3, target_modules=at), _delora),
    Same(acc.WaveFT(waves=30, scale=25), lambda at: peft.WaveFTConfig(n_frequency=30, target_modules=at), _waveft),
    Same(acc.PSOFT(rank=4), lambda at: peft.PsoftConfig(r=4, target_modules=at), _psoft),
    Same(acc.OSF(rank=3), lambda at: peft.OSFConfig(effective_rank=3, target_modules=at), _osf),
    Same(acc.TinyLoRA(rank=3, numbers=5), lambda at: peft.TinyLoraConfig(r=3, u=5, target_modules=at), _tiny),
    Same(
        acc.TinyLoRA(rank=2, numbers=5, together=2),
        lambda at: peft.TinyLoraConfig(r=2, u=5, weight_tying=1.0, target_modules=at), _tiny,
    ),
    Same(acc.UniLoRA(numbers=40), lambda at: peft.UniLoraConfig(theta_d_length=40, target_modules=at), _uni),
    Same(acc.DEFT(rank=3), lambda at: peft.DeftConfig(r=3, target_modules=at), _deft),
    Same(
        acc.DEFT(rank=3, basis="qr"), lambda at: peft.DeftConfig(r=3, decomposition_method="qr", target_modules=at), _deft
    ),
    Same(
        acc.PaRa(rank=3), lambda at: peft.DeftConfig(r=3, decomposition_method="qr", para=True, target_modules=at),
        lambda layer, m: put(m, directions=layer.deft_P["default"]),
    ),
    Same(acc.PEANuT(rank=3), lambda at: peft.PeanutConfig(r=3, target_modules=at), _peanut),
    Same(acc.PEANuT(rank=3, depth=2), lambda at: peft.PeanutConfig(r=3, depth=2, target_modules=at), _peanut),
    Same(acc.BDLoRA(rank=4, alpha=6), bdlora("a"), _factors),
    Same(acc.KaSA(rank=4, alpha=6), lora(kasa_config=peft.tuners.lora.config.KasaConfig()), _kasa),
    Same(acc.PVeRA(rank=3), lambda at: peft.PveraConfig(r=3, target_modules=at), _pvera),
    Same(
        acc.Lily(rank=3, experts=4, scale=2.0),
        lambda at: peft.LilyConfig(r=3, num_B=4, scaling=2.0, target_modules=at), _lily, x=noise(1, 5, 12),
    ),
    Same(
        acc.FRoD(density=0.1), lambda at: peft.FrodConfig(sparse_rate=0.1, progressbar=False, target_modules=at), _frod,
        close=1e-6,
    ),
    Same(
        acc.AdaMSS(groups=3, rank=2, directions=6),
        lambda at: peft.AdamssConfig(r=6, num_subspaces=3, subspace_rank=2, target_modules=at), _adamss, close=1e-6,
    ),
    Same(
        acc.TokenRows(tokens=(3, 7)), lambda at: peft.TrainableTokensConfig(token_indices=[3, 7], target_modules=at),
        lambda layer, m: put(
            m, rows=layer.trainable_tokens_delta["default"] - layer.trainable_tokens_original["default"]
        ),
        make=embedding, x=torch.tensor([[3, 4, 7], [7, 7, 1]]), targets=("0",),
    ),
]  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_same_as_in_peft(row: Same) -> None:
    base = row.make().eval()
    plain = base(row.x)
    adapter = acc.attach(
        base, row.method, at=[path if row.method.kind == "call" else f"{path}.weight" for path in row.targets]
    )
    there = peft.get_peft_model(row.make(), row.config(list(row.targets))).eval()
    generator = torch.Generator().manual_seed(7)
    for parameter in there.parameters():
        if parameter.requires_grad:
            parameter.add_(torch.randn(parameter.shape, generator=generator) * row.size)
    model: Any = there.base_model.model
    for key, module in adapter.modules():
        row.give(model[int(key.split(".")[0].removesuffix("()"))], module)
    expected = there(row.x)
    assert distance([plain], [expected]) > 0.01, "an adapter that does nothing proves nothing"
    assert distance([base(row.x)], [expected]) < row.close


def test_osf_follows_the_gradient_that_they_project() -> None:
    base, x = network(), noise(5, 12)
    adapter = acc.attach(base, acc.OSF(rank=3), at="0.weight")
    there = peft.get_peft_model(network(), peft.OSFConfig(effective_rank=3, target_modules=["0"]))
    for model in (base, there):
        model(x).square().sum().backward()
    held: Any = there.base_model.model[0].osf_svd_params["default"]
    module: Any = dict(adapter.modules())["0.weight"]
    for ours, theirs in ((module.left, "U_low"), (module.right, "V_low"), (module.values, "S_low")):
        assert torch.allclose(ours.grad, held[theirs].grad, atol=1e-5)
    assert held["U_low"].grad.abs().max() > 1e-3


@torch.no_grad()
def test_qa_lora_is_theirs_of_a_group_in_other_units() -> None:
    """Theirs, which runs on GPTQ layers alone, takes a group's mean times the number of groups; ours, as the paper, a sum."""
    from types import SimpleNamespace

    from peft.tuners.lora.variants import QALoraLinearVariant

    base, x = network(), noise(5, 12)
    plain = base[0](x)
    module: Any = next(
        iter(dict(acc.attach(base, acc.QALoRA(rank=2, alpha=3, group=4), at="0.weight").modules()).values())
    )
    module.up.normal_()
    down, up = (SimpleNamespace(weight=factor) for factor in (module.down * 4 / 3, module.up))
    there: Any = SimpleNamespace(
        lora_A={"a": down}, lora_B={"a": up}, lora_dropout={"a": nn.Identity()}, scaling={"a": 1.5},
        qalora_group_size={"a": 4}, in_features=12, training=False,
    )  # fmt: skip
    expected = QALoraLinearVariant.forward(there, "a", x, plain)
    assert distance([base[0](x)], [expected]) < 1e-5 and distance([plain], [expected]) > 0.1


@torch.no_grad()
@pytest.mark.parametrize("diagonal", ["down", "up"])
def test_a_block_of_the_outputs_needs_a_block_of_the_inputs_alone(diagonal: Any) -> None:
    base = network()
    adapter = acc.attach(base, acc.BDLoRA(rank=4, diagonal=diagonal), at="0.weight")
    module: Any = dict(adapter.modules())["0.weight"]
    module.up.normal_()
    down, up = module.factors()
    thin = (down if diagonal == "down" else up.mT)[:2]
    assert thin[:, thin.shape[1] // 2 :].count_nonzero() == 0 and thin.count_nonzero() == thin.numel() // 2


@torch.no_grad()
def test_pvera_draws_what_theirs_draws() -> None:
    base, x = network(), noise(5, 12)
    adapter = acc.attach(base, acc.PVeRA(rank=3), at="0.weight")
    there = peft.get_peft_model(network(), peft.PveraConfig(r=3, target_modules=["0"]))
    layer: Any = there.base_model.model[0]
    layer.pvera_lambda_b["default"].normal_()
    _pvera(layer, dict(adapter.modules())["0.weight"])
    found = []
    for model in (base.train(), there.train()):
        torch.manual_seed(0)
        found.append([model(x)])
    assert distance(*found) < 1e-5 and distance([base(x)], found[0]) > 0.01


def test_lily_shares_as_theirs_does() -> None:
    """One way to read for two layers of one name and shape, and one set of ways to write for all of them."""

    def layers() -> nn.Module:
        return nn.ModuleDict({str(n): nn.ModuleDict({"q": nn.Linear(6, 6)}) for n in range(4)})

    ours = acc.attach(layers(), acc.Lily(rank=2, stride=2), at="*q")
    theirs = peft.get_peft_model(layers(), peft.LilyConfig(r=2, stride_A=2, num_B=2, target_modules=["q"]))
    count = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert sum(p.numel() for p in ours.parameters()) == count == 2 * 12 + 24 + 4 * 4
